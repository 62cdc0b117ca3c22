"""The plots of the page that `raysys check --html` writes, each as the text of an SVG image.

Colours and fonts are those of the page (CSS variables), so that the plots follow it into dark mode;
texts stay texts. matplotlib is imported by the function that draws: it is an extra, and importing
it starts a program that looks for fonts.
"""

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from raysys.dataset.activity import Activity
from raysys.dataset.findings import percent
from raysys.dataset.shard_statistics import MIN_TESTED_LENGTH
from raysys.dataset.statistics import Statistics

# Colours that stand for variables of the page until the image is drawn.
_INK, _MUTED, _GRID = "#010101", "#020202", "#030303"
_FIRST, _SECOND, _THIRD, _CARD = "#040404", "#050505", "#060606", "#070707"
_VARIABLES = {
    _INK: "--ink",
    _MUTED: "--muted",
    _GRID: "--grid",
    _FIRST: "--first",
    _SECOND: "--second",
    _THIRD: "--third",
    _CARD: "--card",
}
_STYLE = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",  # comes with matplotlib; the page puts its own in its place
    "font.size": 9,
    "axes.edgecolor": _GRID,
    "axes.labelcolor": _MUTED,
    "axes.titlecolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.8,
    "text.color": _INK,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "xtick.minor.bottom": False,
    "ytick.left": False,
    "ytick.minor.left": False,
    "legend.frameon": False,
}
_WIDE, _NARROW = (9.6, 3.9), (4.7, 2.9)  # inches
_MOST_BARS = 8


def over_time(activity: Activity) -> str:
    """Draw interactions over time, and below them which users and items were known by then."""
    with _drawing("activity", _WIDE) as (figure, finish):
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
        times = [*activity.starts, activity.end]  # a step ends where the next one starts
        rows = np.append(activity.interactions, activity.interactions[-1])
        top.fill_between(times, rows, step="post", color=_FIRST, alpha=0.25, linewidth=0)
        top.step(times, rows, where="post", color=_FIRST, linewidth=1.4)
        top.set_title(f"interactions per {activity.piece}", loc="left", fontsize=9, color=_MUTED)
        for counts, color, label in (
            (activity.new_users, _SECOND, "users"),
            (activity.new_items, _THIRD, "items"),
        ):
            known = np.append(0, np.cumsum(counts)) / counts.sum()
            bottom.plot(times, known, color=color, linewidth=1.6, label=label)
        bottom.set_title("seen so far, of all", loc="left", fontsize=9, color=_MUTED)
        bottom.legend(loc="lower right", ncols=2, handlelength=1.2)
        bottom.set_ylim(0, 1.02)
        bottom.set_yticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
        locator = AutoDateLocator(minticks=4, maxticks=9)  # type: ignore[no-untyped-call]
        bottom.xaxis.set_major_locator(locator)
        short = ConciseDateFormatter(locator)  # type: ignore[no-untyped-call]
        bottom.xaxis.set_major_formatter(short)
        top.set_xlim(times[0], times[-1])
        top.set_ylim(bottom=0)
        _count(top.yaxis)
        return finish()


def history_lengths(statistics: Statistics) -> str:
    """Draw how many users have histories of which length, in bins that grow with it."""
    lengths = statistics.shard.lengths
    edges = _growing_edges(max(lengths))
    users, _ = np.histogram(list(lengths), bins=edges, weights=list(lengths.values()))
    is_short = edges[1:] <= MIN_TESTED_LENGTH
    with _drawing("lengths", _NARROW) as (figure, finish):
        axes = figure.subplots()
        for chosen, color in ((is_short, _MUTED), (~is_short, _FIRST)):
            lefts, widths = edges[:-1][chosen], np.diff(edges)[chosen]
            axes.bar(lefts, users[chosen], widths * 0.95, align="edge", color=color)
        axes.set_xscale("log")
        axes.set_xlim(0.92, edges[-1])
        for share, name, height in ((0.5, "median", 0.95), (0.99, "99 % up to", 0.84)):
            length = statistics.length_percentile(share)
            _mark(axes, length + 0.5, f"{name} {length:,}", height)
        axes.set_ylim(top=users.max() * 1.3)
        axes.set_xlabel("interactions of a user")
        axes.set_ylabel("users")
        _count(axes.xaxis, is_log=True)
        _count(axes.yaxis)
        return finish()


def popularity(statistics: Statistics) -> str:
    """Draw the interactions of every item by its rank, and what the most popular have together."""
    counts = statistics.popularity()
    ranks = np.unique(np.geomspace(1, len(counts), 400).astype(np.int64))
    with _drawing("popularity", _NARROW) as (figure, finish):
        axes = figure.subplots()
        axes.loglog(ranks, counts[ranks - 1], color=_FIRST, linewidth=1.8)
        axes.fill_between(ranks, counts[ranks - 1], 0.8, color=_FIRST, alpha=0.18, linewidth=0)
        for share, height in ((0.01, 0.94), (0.1, 0.82)):
            has = statistics.share_of_most_popular(share)
            rank = max(1, round(len(counts) * share))
            _mark(axes, rank, f"top {share:.0%} of items: {has:.0%}", height)
        axes.set_ylim(0.8, counts[0] * 8)
        axes.set_xlabel("items, the most popular first")
        axes.set_ylabel("interactions")
        _count(axes.xaxis, is_log=True)
        _count(axes.yaxis, is_log=True)
        return finish()


def event_types(statistics: Statistics) -> str | None:
    """Draw how often each event type occurs; None where there are none, or too many."""
    found = statistics.shard.event_types.most_common()
    if not found:
        return None
    bars = found[:_MOST_BARS]
    if rest := found[_MOST_BARS:]:
        bars.append((f"{len(rest):,} more", sum(count for _, count in rest)))
    if missing := statistics.shard.columns["event_type"].nulls:
        bars.append(("(none)", missing))
    names = [_cut(str(name)) for name, _ in bars]
    counts = [count for _, count in bars]
    with _drawing("types", (_NARROW[0], 0.25 + 0.31 * len(bars))) as (figure, finish):
        axes = figure.subplots()
        places = np.arange(len(bars))[::-1]
        axes.barh(places, counts, 0.62, color=_FIRST)
        for place, count in zip(places, counts, strict=True):
            text = f"{count:,} · {percent(count, statistics.shard.rows)}"
            beside = {"xytext": (5, 0), "textcoords": "offset points", "va": "center"}
            axes.annotate(text, (count, place), **beside, fontsize=8)
        axes.set_yticks(places, names)
        axes.tick_params(axis="y", labelcolor=_INK)
        axes.set_xlim(0, max(counts) * 1.45)
        axes.set_ylim(-0.5, len(bars) - 0.5)
        axes.grid(visible=False)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        return finish()


def event_values(statistics: Statistics) -> str | None:
    """Draw how often each event value occurs; None where there are none, or too many."""
    found = sorted(statistics.shard.event_values.counts.items())
    if not found:
        return None
    values, counts = np.array([value for value, _ in found]), [count for _, count in found]
    with _drawing("values", _NARROW) as (figure, finish):
        axes = figure.subplots()
        gap = float(np.diff(values).min()) if len(values) > 1 else 1.0
        axes.bar(values, counts, 0.7 * gap, color=_FIRST)
        if len(values) == 1:
            axes.set_xlim(values[0] - 2, values[0] + 2)
        if len(values) <= 12:
            axes.set_xticks(values, [f"{value:g}" for value in values])
        axes.set_xlabel("event value")
        axes.set_ylabel("interactions")
        _count(axes.yaxis)
        return finish()


@contextmanager
def _drawing(name: str, size: tuple[float, float]) -> Iterator[tuple[Any, Callable[[], str]]]:
    """Give an empty figure, and the function that returns it as SVG."""
    import matplotlib
    from matplotlib.figure import Figure

    style: Any = {**_STYLE, "svg.hashsalt": name}  # ids that no other plot of the page has
    with matplotlib.rc_context(style):
        figure = Figure(figsize=size, layout="constrained")

        def finish() -> str:
            drawn = io.StringIO()
            nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
            figure.savefig(drawn, format="svg", transparent=True, metadata=nothing)
            return _as_part_of_a_page(drawn.getvalue())

        yield figure, finish


def _as_part_of_a_page(svg: str) -> str:
    """Return the drawing alone: no header, no style that would reach beyond it, colours by name."""
    svg = re.sub(r"<style.*?</style>", "", svg[svg.index("<svg") :], flags=re.S)
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', r'<svg role="img" \1>', svg, count=1)
    for color, variable in _VARIABLES.items():
        svg = svg.replace(color, f"var({variable})")
    return svg.replace("'DejaVu Sans'", "var(--font)")


def _growing_edges(longest: int) -> Any:
    """Return the edges of bins for whole numbers from 1 on: single ones first, then wider."""
    edges = [*range(1, 5)]
    while edges[-1] <= longest:
        edges.append(max(edges[-1] + 1, round(edges[-1] * 1.5)))
    return np.array(edges)


def _mark(axes: Any, at: float, text: str, height: float) -> None:
    """Draw a vertical line with a text beside it, on the side where there is more room."""
    low, high = np.log(axes.get_xlim())
    is_right = np.log(at) > (low + high) / 2
    axes.axvline(at, ymax=height + 0.04, color=_INK, linewidth=0.8, linestyle=(0, (3, 3)))
    axes.annotate(
        text,
        (at, height),
        xycoords=("data", "axes fraction"),
        xytext=(-4 if is_right else 4, 0),
        textcoords="offset points",
        ha="right" if is_right else "left",
        va="center",
        fontsize=8,
        bbox={"facecolor": _CARD, "edgecolor": "none", "pad": 1.5},
    )


def _cut(text: str, most: int = 18) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _count(axis: Any, *, is_log: bool = False) -> None:
    """Label an axis of counts: 1k, 1M; whole numbers only."""
    from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter

    axis.set_major_locator(
        LogLocator(numticks=6) if is_log else MaxNLocator(4, integer=True, steps=[1, 2, 5, 10])
    )
    axis.set_major_formatter(EngFormatter(sep=""))
    if is_log:
        axis.set_minor_formatter(NullFormatter())
