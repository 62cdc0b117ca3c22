"""The page of `raysys check --html`: one file, safe whatever ids hold, with the plots in it."""

import re
from datetime import UTC, datetime
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raysys.commands import check_plots
from raysys.commands.check_page import check_page
from raysys.dataset.activity import activity
from raysys.dataset.checks import check
from raysys.dataset.dataset import Dataset
from raysys.dataset.measuring import measure
from raysys.logs.call import run_here
from raysys.logs.manifest import read_manifest
from tests.unit.dataset.builders import interactions, write_dataset

DAY = 86_400_000_000
AT = datetime(2024, 5, 6, 7, 8, tzinfo=UTC)
EVIL = "<script>alert('x')</script>"


def statistics(tmp_path, rows, types=None, values=None, **manifest):
    path = write_dataset(tmp_path / "data", [rows or [("a", "x", 0)]], **manifest)
    table = interactions(rows)
    for place, name, column in ((3, "event_type", types), (4, "event_value", values)):
        if column is not None:
            table = table.set_column(place, name, pa.array(column))
    pq.write_table(table, path / "import-1/interactions/shard-00000.parquet")
    return measure(Dataset(path, read_manifest(path)), run_here)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    rows = [(f"u{n // 20:03}", f"i{n * n % 37}", n * DAY) for n in range(600)]
    rows[0] = (rows[0][0], EVIL, 0)
    found = statistics(
        tmp_path_factory.mktemp("page"), rows, [EVIL, *["view"] * 599], [4.0, *[2.5] * 599]
    )
    return check_page("my <shop>", found, check(found), AT)


def drawings(page):
    return re.findall(r"<svg.*?</svg>", page, re.S)


def texts(svg):
    return [
        "".join(one.itertext()) for one in ElementTree.fromstring(svg).iter() if "text" in one.tag
    ]


def test_the_page_needs_nothing_from_elsewhere(page):
    without_names = re.sub(r'xmlns(:\w+)?="[^"]*"', "", page)
    assert not re.search(r"https?:|//|@import|src=|<script|<link", without_names)
    assert page.startswith("<!doctype html>")


def test_ids_and_names_are_shown_and_never_run(page):
    assert EVIL not in page
    assert "&lt;script&gt;" in page
    assert "<h1>my &lt;shop&gt;</h1>" in page


def test_verdict_findings_and_figures_are_on_the_page(page):
    assert '<span class="badge fail">FAIL</span> Not fit' in page
    assert page.index("FAIL</span></td>") < page.index("WARN</span></td>")
    assert "<b>600</b>" in page
    assert "checked 2024-05-06 07:08 UTC" in page.replace("&#8209;", "-")


def test_every_plot_is_a_drawing_of_its_own_in_the_colours_of_the_page(page):
    found = drawings(page)
    assert len(found) == 5
    for svg in found:
        ElementTree.fromstring(svg)  # well-formed
        assert re.findall(r"#[0-9a-f]{6}\b", svg) == []
        assert "var(--first)" in svg
        assert "DejaVu" not in svg
    ids = [name for svg in found for name in re.findall(r'clipPath id="([^"]*)"', svg)]
    assert len(ids) == len(set(ids)) > 0


def test_plots_say_what_they_show_in_words(page):
    over_time, lengths, popularity, types, values = map(texts, drawings(page))
    assert "interactions per 7 days" in over_time
    assert "median 20" in lengths
    assert any(text.startswith("top 10% of items: ") for text in popularity)
    assert "599 · 99.8 %" in types
    assert {"2.5", "4"} <= set(values)


def test_what_a_log_does_not_have_is_not_drawn(tmp_path):
    found = statistics(tmp_path, [("a", "x", 0), ("a", "y", 1)])
    assert check_plots.event_types(found) is None
    assert check_plots.event_values(found) is None
    assert len(drawings(check_page("two", found, check(found), AT))) == 3


def test_rare_event_types_are_put_together_and_missing_ones_named(tmp_path):
    kinds = [f"t{n}" for n in range(12) for _ in range(12 - n)]
    rows = [("a", "x", n) for n in range(len(kinds) + 1)]
    shown = texts(check_plots.event_types(statistics(tmp_path, rows, [*kinds, None])))
    assert [text for text in shown if text.startswith("t")] == [f"t{n}" for n in range(8)]
    assert "4 more" in shown
    assert "10 · 12.7 %" in shown  # 4 + 3 + 2 + 1 of 79
    assert "(none)" in shown


def test_one_interaction_can_be_drawn(tmp_path):
    found = statistics(tmp_path, [("a", "x", 5)], ["t"], [1.0])
    for plot in (check_plots.history_lengths, check_plots.popularity, check_plots.event_values):
        assert "<svg" in plot(found)
    assert "<svg" in check_plots.over_time(activity(found))


def test_a_dataset_in_which_nobody_is_left_has_a_page_without_plots(tmp_path):
    nobody = {"first_occurred_at": None, "last_occurred_at": None}
    found = statistics(tmp_path, [], **nobody)
    page = check_page("empty", found, check(found), AT)
    assert drawings(page) == []
    assert "0 interactions" in page


def test_what_the_import_noticed_is_on_the_page(tmp_path):
    found = statistics(tmp_path, [("a", "x", 5)], notices=["log.csv: <i>DEVICE</i> was not read."])
    assert "<li>log.csv: &lt;i&gt;DEVICE&lt;/i&gt; was not read.</li>" in check_page(
        "one", found, check(found), AT
    )


def test_the_same_dataset_gives_the_same_page(tmp_path):
    found = statistics(tmp_path, [("a", "x", 5), ("a", "y", 8)], ["t", "t"])
    pages = [check_page("one", found, check(found), AT) for _ in range(2)]
    assert pages[0] == pages[1]
