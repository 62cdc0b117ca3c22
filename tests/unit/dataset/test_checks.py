"""Every rule, at its border: what still passes, and what does not."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from raysys.dataset.checks import RULES, check
from raysys.dataset.counting import ITEM_COUNTS, ColumnProfile, ValueCounts
from raysys.dataset.findings import Finding, Verdict, percent, quoted, verdict_of
from raysys.dataset.statistics import Statistics
from raysys.dataset.table_statistics import ItemJoin, TableStatistics
from raysys.dataset.time_bins import DAY_US, TimeBins
from raysys.logs.avro import to_avro
from raysys.logs.impressions import Impressions
from raysys.logs.manifest import FORMAT_VERSION, DatasetManifest
from raysys.logs.schema import Field, Kind, Schema, ValueType, schema_of

START = datetime(2024, 1, 1, tzinfo=UTC)


def manifest(**changes):
    written = {
        "format_version": FORMAT_VERSION,
        "import_id": "import-1",
        "created_at": START,
        "sources": [],
        "num_shards": 1,
        "rows_in": 60_000,
        "rows_accepted": 60_000,
        "rows_quarantined": 0,
        "rows_duplicate": 0,
        "quarantined_by_reason": {},
        "notices": [],
        "num_users": 1_000,
        "num_items": 100,
        "first_occurred_at": START,
        "last_occurred_at": START + timedelta(days=200),
        "files": {},
    }
    return DatasetManifest(**(written | changes))


def items(*interactions, last=0, last_but_one=0):
    size = len(interactions)
    return pa.table(
        [
            [f"i{number}" for number in range(size)],
            list(interactions),
            [0] * size,
            [last] * size,
            [last_but_one] * size,
        ],
        schema=ITEM_COUNTS,
    )


def good(**changes):
    """Statistics with which every rule is content; `changes` go to them or to their shard."""
    bins = TimeBins(int(START.timestamp()) * 1_000_000, DAY_US, 200)
    found = Statistics(changes.pop("manifest", manifest()), bins, 0)
    found.shard = replace(
        found.shard,
        rows=60_000,
        lengths=Counter({60: 1_000}),
        longest=(60, "u"),
        per_bin=np.full(200, 300),
        event_types=ValueCounts(5, Counter({"watch": 40_000, "click": 20_000})),
        columns={"event_type": ColumnProfile(60_000, 0, "click", "watch")},
    )
    found.items = items(*[600] * 100, last=10, last_but_one=10)
    for name, value in changes.items():
        setattr(found if hasattr(found, name) else found.shard, name, value)
    return found


def found_by(name, **changes):
    (finding,) = (one for one in check(good(**changes)) if one.check == name)
    return finding


def test_a_good_dataset_passes_every_rule_without_hints():
    findings = check(good())
    assert [finding for finding in findings if finding.hint] == []
    assert verdict_of(findings) is Verdict.PASS
    assert len(findings) == len(RULES) - 3  # no table of items, no impressions, no context
    assert len({finding.check for finding in findings}) == len(findings)


def lengths(**users_by_length):
    """lengths(of_1=3) is three users with one interaction each."""
    found = Counter({int(name.removeprefix("of_")): n for name, n in users_by_length.items()})
    return {"lengths": found, "rows": sum(length * n for length, n in found.items())}


def mistyped(nulls):
    profile = ColumnProfile(60_000, nulls, "click", "watch")
    return {"columns": {"event_type": profile}}


def typed(num_types, num_columns=0):
    fields = [*schema_of(Kind.INTERACTIONS, ["event_type"]).fields]
    fields += [Field(f"C{n}", ValueType.LONG, is_nullable=True) for n in range(num_columns)]
    schema = to_avro(Schema(Kind.INTERACTIONS, tuple(fields)))
    counts = Counter({f"type-{n}": 60_000 // num_types for n in range(num_types)})
    return {
        "manifest": manifest(schemas={"interactions": schema}),
        "event_types": ValueCounts(100, counts),
    }


CASES = [
    ("interactions", {"rows": 50_000}, "PASS", "50,000 interactions"),
    ("interactions", {"rows": 49_999}, "WARN", "Import more"),
    ("interactions", {"rows": 1_000}, "WARN", "1,000"),
    ("interactions", {"rows": 999}, "FAIL", "1,000 are needed"),
    ("returning users", lengths(of_1=1_000, of_2=25), "PASS", "25 of 1,025"),
    ("returning users", lengths(of_1=900, of_2=25), "WARN", "1,000 users"),
    ("returning users", lengths(of_1=900, of_2=24), "FAIL", "At least 25"),
    ("returning users", lengths(of_1=2_475, of_2=25), "PASS", "25 of 2,500"),
    ("returning users", lengths(of_1=2_476, of_2=25), "FAIL", "1 % of all users"),
    ("one-interaction users", lengths(of_1=500, of_2=500), "PASS", "50.0 %"),
    ("one-interaction users", lengths(of_1=501, of_2=499), "WARN", "session id"),
    ("most popular item", {"items": items(100, *[1] * 900), "rows": 1_000}, "PASS", "10.0 %"),
    ("most popular item", {"items": items(101, *[1] * 899), "rows": 1_000}, "WARN", "'i0'"),
    ("most popular item", {"items": items(500, *[1] * 500), "rows": 1_000}, "WARN", "50.0 %"),
    ("most popular item", {"items": items(501, *[1] * 499), "rows": 1_000}, "FAIL", "everybody"),
    ("most popular item", {"items": items(60_000)}, "FAIL", "nothing to choose from"),
    ("busiest user", {"longest": (3_000, "bot")}, "PASS", "5.0 %"),
    ("busiest user", {"longest": (3_001, "bot")}, "WARN", "crawler"),
    ("unit of time", {"early_rows": 1}, "WARN", "before 1980: 1"),
    ("unit of time", {"early_rows": 30_000}, "WARN", "distort"),
    ("unit of time", {"early_rows": 30_001}, "FAIL", "larger unit"),
    ("future", {"future_rows": 1}, "WARN", "time zones"),
    ("future", {"future_rows": 600}, "WARN", "1.0 %"),
    ("future", {"future_rows": 601}, "FAIL", "2024-07-18"),
    ("ties in time", {"tied_rows": 12_000}, "PASS", "20.0 %"),
    ("ties in time", {"tied_rows": 12_001}, "WARN", "order of the log"),
    (
        "ties in time",
        {"tied_rows": 12_001, "rows_on_whole": Counter(days=60_000, hours=60_000)},
        "WARN",
        "whole days",
    ),
    ("event types", {"event_types": ValueCounts(5, is_complete=False)}, "FAIL", "more than 5"),
    ("event types", typed(10), "PASS", "type-0 10.0 %"),
    ("event types", typed(11), "FAIL", "11 event types and 0 columns of metadata are more than 10"),
    ("event types", typed(6, num_columns=4), "PASS", "type-0"),
    ("event types", typed(6, num_columns=5), "FAIL", "6 event types and 5 columns of metadata"),
    ("event types", mistyped(nulls=1), "WARN", "every row, or of none"),
    (
        "event types",
        {"event_types": ValueCounts(5), **mistyped(nulls=60_000)},
        "PASS",
        "no event types",
    ),
    (
        "constant columns",
        {"columns": {"event_type": ColumnProfile(9, 0, "a", "a")}},
        "WARN",
        "interactions.event_type is always 'a'",
    ),
    (
        "constant columns",
        {"columns": {"event_type": ColumnProfile(9, 9), "device": ColumnProfile(9, 9)}},
        "WARN",
        "interactions.device is always empty",
    ),
    (
        "constant columns",
        {"columns": {"event_type": ColumnProfile(9, 1, "a", "a")}},
        "PASS",
        "none of 1 columns",
    ),
    ("split", {"lengths": Counter({60: 100, 2: 900})}, "PASS", "tests 100 of 1,000"),
    ("split", {"lengths": Counter({60: 99, 2: 901})}, "WARN", "by chance"),
    ("split", {"lengths": Counter({2: 1_000})}, "FAIL", "split by time"),
    ("split", {"items": items(600, 4, last=200, last_but_one=0)}, "PASS", "tests 1,000"),
    ("split", {"items": items(600, 201, last=201)}, "WARN", "20.1 %"),
    ("split", {"items": items(600, 200, last=200)}, "PASS", "20.0 %"),
]


@pytest.mark.parametrize(("name", "changes", "verdict", "words"), CASES)
def test_a_rule_at_its_border(name, changes, verdict, words):
    finding = found_by(name, **changes)
    assert (finding.verdict, bool(finding.hint)) == (verdict, verdict != "PASS"), finding
    assert words in f"{finding.found} {finding.hint}"


def refused(**by_reason):
    return manifest(rows_quarantined=sum(by_reason.values()), quarantined_by_reason=by_reason)


IMPORTS = [
    ("quarantined rows", refused(null_id=600), "PASS", "null_id 1.0 %"),
    ("quarantined rows", refused(null_id=300, float_id=301), "WARN", "float_id 0.50 %, null_id"),
    ("quarantined rows", refused(null_id=30_000), "WARN", "50.0 % of 60,000 rows"),
    ("quarantined rows", refused(null_id=30_001), "FAIL", "import again"),
    ("unit of time", refused(timestamp_out_of_range=1), "WARN", "beyond 2099, quarantined: 1;"),
    ("unit of time", refused(timestamp_out_of_range=1), "WARN", "or do without them"),
    ("unit of time", refused(timestamp_out_of_range=30_001), "FAIL", "divide by 1,000"),
    ("duplicates", manifest(rows_duplicate=6_000), "PASS", "10.0 %"),
    ("duplicates", manifest(rows_duplicate=6_001), "WARN", "imported twice"),
    ("time span", manifest(last_occurred_at=START), "FAIL", "One moment"),
]


@pytest.mark.parametrize(("name", "manifest", "verdict", "words"), IMPORTS)
def test_what_an_import_did_is_judged_at_its_border(name, manifest, verdict, words):
    example = {
        "timestamp_out_of_range": "a.csv, row 1: It looks like milliseconds: divide by 1,000."
    }
    finding = found_by(name, manifest=manifest, quarantined=example)
    assert finding.verdict == verdict, finding
    assert words in f"{finding.found} {finding.hint}"


def test_lists_of_one_item_are_warned_of_where_the_log_says_what_was_shown():
    def of(shown):
        return manifest(impressions=Impressions(rows=6_000, items=shown))

    assert found_by("impressions", manifest=of(12_000)).verdict == "PASS"
    assert "10.0 % of the interactions say" in found_by("impressions", manifest=of(12_000)).found
    assert "`|`" in found_by("impressions", manifest=of(11_999)).hint
    assert [one for one in check(good()) if one.check == "impressions"] == []


@pytest.mark.parametrize(
    ("kind", "lowest", "highest", "warns"),
    [
        (ValueType.LONG, 0, 100, False),
        (ValueType.LONG, 0, 101, True),
        (ValueType.DOUBLE, 0.5, 1.5, True),
        (ValueType.BOOLEAN, False, True, False),
        (ValueType.LONG, None, None, False),
    ],
)
def test_context_that_may_be_known_only_afterwards_is_warned_of(kind, lowest, highest, warns):
    fields = [*schema_of(Kind.INTERACTIONS, []).fields, Field("SEEN", kind, is_nullable=True)]
    profile = ColumnProfile(60_000, 60_000 if lowest is None else 0, lowest, highest)
    found = found_by(
        "context",
        manifest=manifest(schemas={"interactions": to_avro(Schema(Kind.INTERACTIONS, (*fields,)))}),
        columns=good().shard.columns | {"seen": profile},
    )
    assert "SEEN" in found.found
    assert ("SEEN" in found.hint) == warns == (found.verdict == "WARN")


def test_a_few_stray_times_that_stretch_the_log_are_noticed():
    per_bin = np.zeros(200, np.int64)
    per_bin[180:199], per_bin[0] = 3_157, 17
    finding = found_by("time span", per_bin=per_bin)
    assert finding.verdict == "WARN"
    assert "from 2024-06-29 to 2024-07-17" in finding.hint
    per_bin[150:180] = 3_157
    assert found_by("time span", per_bin=per_bin, rows=154_710).verdict == "PASS"


def table(**changes):
    found = ItemJoin(rows=100, matched=100)
    for name, value in changes.items():
        setattr(found, name, value)
    return {"item_table": found}


JOINS = [
    (table(), "PASS", "all 100 items have a row"),
    (
        table(items_without_row=5, interactions_without_row=6),
        "PASS",
        "with 0.01 % of the interactions",
    ),
    (table(items_without_row=6, without_row=["x"]), "WARN", "Without a row: 'x' and others"),
    (table(items_without_row=90), "WARN", "90.0 % of 100 items"),
    (table(items_without_row=91, unmatched=["y"]), "FAIL", "without interactions: 'y'"),
    (
        table(items_without_row=91) | {"item_ids_differ_in": "leading zeros"},
        "FAIL",
        "Most would join if leading zeros were ignored",
    ),
]


@pytest.mark.parametrize(("changes", "verdict", "words"), JOINS)
def test_items_must_find_their_rows(changes, verdict, words):
    finding = found_by("items joined", **changes)
    assert finding.verdict == verdict, finding
    assert words in f"{finding.found} {finding.hint}"


def test_cold_items_are_counted_and_those_of_which_nothing_is_known_are_warned_of():
    assert found_by("cold items", **table(rows=900, matched=90)).verdict == "PASS"
    assert found_by("cold items", **table(rows=901, matched=90)).verdict == "WARN"
    bare = found_by("cold items", **table(rows=101, unmatched_without_metadata=1))
    assert bare.verdict == "WARN"
    assert "1 of 101 rows" in bare.found
    assert "of 1 of them nothing but the id" in bare.found


def test_users_must_find_their_rows():
    def joined(matched):
        users = TableStatistics(rows=2_000, matched=matched, unmatched=["7"])
        return found_by("users joined", user_table=users, users_without_row=["u7"])

    assert joined(950).verdict == "PASS"
    assert "1,050 of its 2,000 rows are users without interactions" in joined(950).found
    assert joined(949).verdict == "WARN"
    assert "'u7' and others; the table's ids are like '7' and others" in joined(949).hint
    assert joined(99).verdict == "FAIL"


def test_the_verdict_is_the_worst_one():
    def of(*verdicts):
        return verdict_of([Finding("x", verdict, "") for verdict in verdicts])

    assert of() == of(Verdict.PASS) == "PASS"
    assert of(Verdict.PASS, Verdict.WARN, Verdict.PASS) == "WARN"
    assert of(Verdict.FAIL, Verdict.WARN) == "FAIL"


@pytest.mark.parametrize(
    ("part", "whole", "words"),
    [
        (0, 9, "0 %"),
        (0, 0, "0 %"),
        (1, 30_000, "less than 0.01 %"),
        (1, 10_000, "0.01 %"),
        (9_999, 10_000, "more than 99.9 %"),
        (1, 3, "33.3 %"),
        (1, 30, "3.3 %"),
        (1, 300, "0.33 %"),
        (9, 9, "100 %"),
    ],
)
def test_a_share_is_never_rounded_to_nothing_or_to_all(part, whole, words):
    assert percent(part, whole) == words


def test_long_ids_are_cut_where_they_are_quoted():
    assert quoted(["a", "b" * 41], more=True) == f"'a', '{'b' * 40}…' and others"
