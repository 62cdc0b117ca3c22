"""The page that `raysys check --html` writes: one file that needs no other, and no network."""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape
from typing import Any

import raysys
from raysys.commands import check_plots
from raysys.dataset.activity import activity
from raysys.dataset.findings import Finding, Verdict, percent, verdict_of
from raysys.dataset.statistics import Statistics
from raysys.dataset.summary import summary

_MEANING = {
    Verdict.PASS: "Fit to be trained on.",
    Verdict.WARN: "Can be trained on; look at the warnings first.",
    Verdict.FAIL: "Not fit to be trained on as it is.",
}


def check_page(
    name: str, statistics: Statistics, findings: Sequence[Finding], checked_at: datetime
) -> str:
    """Return the page as HTML.

    Args:
        name: what the dataset is called, in the title.
        findings: of `raysys.dataset.checks`, in their order.
    """
    verdict = verdict_of(findings)
    manifest = statistics.manifest
    parts = [
        f"<header><p class=eyebrow>raysys check</p><h1>{escape(name)}</h1>"
        f"<p class=verdict>{_badge(verdict)} {_MEANING[verdict]}</p>"
        f"<p class=muted>Dataset group {escape(manifest.dataset_group)} · import "
        f"{escape(manifest.import_id)} · imported {manifest.created_at:%Y-%m-%d %H:%M} UTC · "
        f"checked {checked_at:%Y-%m-%d %H:%M} UTC</p></header>",
    ]
    if statistics.shard.rows:
        figures = summary(statistics)
        parts.append(_tiles(statistics, figures))
        parts.append(_findings(findings))
        parts.append(_plots(statistics, figures))
    else:
        parts.append(_findings(findings))
    if manifest.notices:
        notices = "".join(f"<li>{_prose(notice)}</li>" for notice in manifest.notices)
        parts.append(f"<section><h2>Notes of the import</h2><ul>{notices}</ul></section>")
    parts.append(f"<footer class=muted>raysys {raysys.__version__}. All counts are exact.</footer>")
    title = f"{verdict}: {escape(name)}"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_CSS}</style></head>\n<body>{''.join(parts)}</body></html>\n"
    )


def _tiles(statistics: Statistics, figures: dict[str, Any]) -> str:
    lengths = figures["history_length"]
    tiles = [
        ("interactions", f"{figures['interactions']:,}", f"{_density(figures)} of all pairs"),
        ("users", f"{figures['users']:,}", f"{lengths['users_with_two']:,} with two or more"),
        ("items", f"{figures['items']:,}", _of_the_top(figures)),
        (
            "interactions a user",
            f"{lengths['p50']:,}",
            f"median; mean {lengths['mean']:,g}, longest {lengths['max']:,}",
        ),
        ("time", _days(statistics), f"{statistics.first_day} to {statistics.last_day}"),
    ]
    return _joined(
        "section class=tiles",
        (
            f"<div><span>{label}</span><b>{value}</b><small>{_unbroken(more)}</small></div>"
            for label, value, more in tiles
        ),
    )


def _density(figures: dict[str, Any]) -> str:
    return percent(figures["interactions"], figures["users"] * figures["items"])


def _of_the_top(figures: dict[str, Any]) -> str:
    return f"the top tenth has {percent(figures['popularity']['share_of_top_10_percent'], 1)}"


def _days(statistics: Statistics) -> str:
    days = statistics.bins.num * statistics.bins.width_us / 86_400_000_000
    return f"{days:,.0f} days" if days >= 2 else f"{days * 24:,.0f} hours"


def _findings(findings: Sequence[Finding]) -> str:
    order = list(reversed(Verdict))
    rows = (
        f"<tr><td>{_badge(one.verdict)}</td><th>{escape(one.check)}</th><td>{_prose(one.found)}"
        f"{f'<p class=hint>{_prose(one.hint)}</p>' if one.hint else ''}</td></tr>"
        for one in sorted(findings, key=lambda finding: order.index(finding.verdict))
    )
    return f"<section><h2>Checks</h2><table class=checks>{''.join(rows)}</table></section>"


def _plots(statistics: Statistics, figures: dict[str, Any]) -> str:
    note = " Stray times are left out." if statistics.has_stray_times() else ""
    over_time = check_plots.over_time(activity(statistics, without_stray_times=True))
    plots = [
        ("Activity over time", f"How much happened, and what was known by then.{note}", over_time),
        (
            "History lengths",
            "How much is known of how many users.",
            check_plots.history_lengths(statistics),
        ),
        (
            "Popularity",
            "How unequally interactions are spread over the items.",
            check_plots.popularity(statistics),
        ),
        ("Event types", "What the interactions are.", check_plots.event_types(statistics)),
        ("Event values", "Ratings, prices, shares.", check_plots.event_values(statistics)),
        ("Most popular items", "", _top_items(figures, statistics.shard.rows)),
    ]
    cards = (
        f"<figure><figcaption><h2>{title}</h2><p class=muted>{text}</p></figcaption>{plot}</figure>"
        for title, text, plot in plots
        if plot is not None
    )
    return _joined("section class=plots", cards)


def _top_items(figures: dict[str, Any], interactions: int) -> str:
    rows = (
        f"<tr><td class=number>{place}</td><td>{_named(item)}</td>"
        f"<td class=number>{item['interactions']:,}</td>"
        f"<td class=number>{percent(item['interactions'], interactions)}</td></tr>"
        for place, item in enumerate(figures["popularity"]["top"], start=1)
    )
    return f"<table class=items>{''.join(rows)}</table>"


def _prose(text: str) -> str:
    """Return a sentence as HTML; what stands between backticks is code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", _unbroken(escape(text)))


def _unbroken(text: str) -> str:
    """Return HTML in which shares and dates are not broken into two lines."""
    dates = re.sub(r"(\d{4})-(\d\d)-(\d\d)", r"\1&#8209;\2&#8209;\3", text)
    return dates.replace(" %", "&nbsp;%")


def _named(item: dict[str, Any]) -> str:
    item_id = escape(item["item_id"])
    return (
        f"{escape(item['title'])} <span class=muted>{item_id}</span>" if item["title"] else item_id
    )


def _badge(verdict: Verdict) -> str:
    return f'<span class="badge {verdict.lower()}">{verdict}</span>'


def _joined(tag: str, parts: Iterable[str]) -> str:
    return f"<{tag}>{''.join(parts)}</{tag.partition(' ')[0]}>"


_CSS = """
:root {
  color-scheme: light dark;
  --font: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  --page: #f6f7f9; --card: #fff; --ink: #16202c; --muted: #64707f; --grid: #e3e7ec;
  --first: #2563a8; --second: #c2571a; --third: #2c8a63;
  --pass: #20754a; --warn: #96620a; --fail: #b3261e;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #11161d; --card: #1a212b; --ink: #e6ebf1; --muted: #93a0b0; --grid: #2e3845;
    --first: #6ea8e6; --second: #eb9457; --third: #63c397;
    --pass: #63c397; --warn: #e0b04d; --fail: #f28b82;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 2.5rem 1.25rem 3rem; max-width: 66rem; background: var(--page);
  color: var(--ink); font: 15px/1.5 var(--font); overflow-wrap: anywhere;
}
h1 { margin: 0 0 .6rem; font-size: 1.9rem; line-height: 1.2; letter-spacing: -.01em; }
h2 { margin: 0 0 .6rem; font-size: 1.05rem; }
p { margin: 0; }
.eyebrow { color: var(--muted); font-size: .85rem; margin-bottom: .2rem; }
.muted { color: var(--muted); font-size: .85rem; }
.verdict { font-size: 1.05rem; margin-bottom: .4rem; }
section, figure {
  margin: 1.25rem 0 0; padding: 1.25rem 1.4rem; background: var(--card);
  border: 1px solid var(--grid); border-radius: 10px;
}
.tiles, .plots { padding: 0; background: none; border: 0; display: grid; gap: 1rem; }
.tiles { grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); }
.tiles div {
  padding: .9rem 1.1rem; background: var(--card); border: 1px solid var(--grid);
  border-radius: 10px; display: flex; flex-direction: column;
}
.tiles span, .tiles small { color: var(--muted); font-size: .82rem; }
.tiles small { overflow-wrap: normal; }
.tiles b { font-size: 1.5rem; line-height: 1.35; font-variant-numeric: tabular-nums; }
.plots { grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr)); }
.plots figure { margin: 0; min-width: 0; }
.plots figure:first-child, .plots figure:last-child:nth-child(even) { grid-column: 1 / -1; }
figcaption h2 { margin: 0; }
figcaption p { margin-bottom: .7rem; }
svg { display: block; width: 100%; height: auto; stroke-linejoin: round; }
table { border-collapse: collapse; width: 100%; }
td, th { padding: .5rem .8rem .5rem 0; text-align: left; vertical-align: top; font-weight: normal; }
tr + tr td, tr + tr th { border-top: 1px solid var(--grid); }
.checks td:first-child { width: 4.6rem; }
.checks th { width: 12.6rem; font-weight: 600; overflow-wrap: normal; }
.hint { color: var(--muted); font-size: .9rem; margin-top: .15rem; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.number:first-child { width: 2.2rem; color: var(--muted); }
.items td { padding: .3rem .8rem .3rem 0; font-size: .92rem; }
code { font: .92em ui-monospace, Menlo, Consolas, monospace; }
.badge {
  display: inline-block; padding: 0 .5rem; border-radius: 5px; font-size: .76rem; font-weight: 700;
  letter-spacing: .03em; line-height: 1.45rem; border: 1px solid currentColor;
  white-space: nowrap; overflow-wrap: normal;
}
.pass { color: var(--pass); } .warn { color: var(--warn); } .fail { color: var(--fail); }
ul { margin: 0; padding-left: 1.2rem; }
footer { margin-top: 1.5rem; }
@media (max-width: 36rem) {
  .checks tr { display: block; padding: .5rem 0; border-top: 1px solid var(--grid); }
  .checks td, .checks th { display: inline; border: 0 !important; padding: 0 .4rem 0 0; }
  .checks td:last-child { display: block; }
}
@media print { body { background: none; } section, figure { break-inside: avoid; } }
"""
