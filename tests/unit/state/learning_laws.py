"""What holds of leases and rounds on every database: tests of SQLite and PostgreSQL run it."""

from collections.abc import Callable

from sqlalchemy import insert, update

from raysys.state.campaigns import Plan, Variant, Wish
from raysys.state.learning import LearningTable, Lease
from raysys.state.learning_rounds import KEPT_ROUNDS
from raysys.state.store import StateStore
from raysys.state.tables import learning_leases, learning_rounds

Law = Callable[[StateStore], None]
HOUR_S = 3_600.0


def run_out(store: StateStore) -> None:
    """Let every lease be over, as if nobody had said anything for long."""
    over = update(learning_leases).values(expires_at_us=1)
    store._database.write(lambda connection: connection.execute(over))


def acquired(table: LearningTable, owner: str) -> Lease:
    lease = table.acquire(owner, HOUR_S)
    assert lease is not None
    return lease


def one_at_a_time_holds_it_and_each_has_a_larger_number(store: StateStore) -> None:
    table, other = store.learning("shop"), store.learning("other")
    ann = acquired(table, "ann")
    assert ann == Lease("ann", 1)
    assert table.acquire("bob", HOUR_S) is None
    assert table.acquire("ann", HOUR_S) == ann  # who does not know whether it arrived
    assert acquired(other, "bob") == Lease("bob", 1)
    assert table.now().is_held
    table.release(ann)
    assert not table.now().is_held
    assert acquired(table, "bob") == Lease("bob", 2)
    table.release(ann)  # it is not hers any more
    assert table.now().is_held


def a_lease_holds_as_long_as_it_is_renewed(store: StateStore) -> None:
    table = store.learning("shop")
    ann = acquired(table, "ann")
    run_out(store)
    assert not table.now().is_held
    assert table.renew(ann, HOUR_S)  # nobody took it
    assert table.acquire("bob", HOUR_S) is None
    assert table.renew(ann, -1)
    bob = acquired(table, "bob")
    assert not table.renew(ann, HOUR_S)
    assert table.renew(bob, HOUR_S)


def a_round_is_told_of_until_its_lease_is_lost(store: StateStore) -> None:
    table = store.learning("shop")
    ann = acquired(table, "ann")
    for _ in range(2):  # who does not know whether it arrived
        table.begin(ann)
    table.tell(ann, step="training", release="r-1")
    [found] = table.now().rounds
    assert (found.status, found.step, found.release, found.owner) == (
        "running",
        "training",
        "r-1",
        "ann",
    )
    assert found.ended_at_us is None
    assert abs(found.began_at_us - table.now().now_us) < 60e6
    run_out(store)
    bob = acquired(table, "bob")
    table.begin(bob)
    table.end(ann, "deployed", "too late")
    bobs, anns = table.now().rounds
    assert (anns.status, anns.step, bobs.status) == ("lost", "training", "running")
    assert "Nothing was heard of it" in anns.reason
    assert anns.ended_at_us is not None
    table.end(bob, "kept", "not good enough")
    table.add("nothing", "nothing is new")
    statuses = [(each.status, each.reason) for each in table.now().rounds]
    assert statuses == [("nothing", "nothing is new"), ("kept", "not good enough")]
    assert len(table.now(num_rounds=10).rounds) == 3
    assert store.learning("other").now().rounds == ()


def what_was_learnt_under_a_lost_lease_is_never_served(store: StateStore) -> None:
    table, campaigns = store.learning("shop"), store.campaigns("shop")

    def wish(release: str, lease: Lease) -> Wish:
        return Wish(release, Plan((Variant("/", release, 1.0),)), lease_number=lease.number)

    ann = acquired(table, "ann")
    campaigns.want({"home": wish("of ann", ann)})
    run_out(store)
    bob = acquired(table, "bob")
    campaigns.want({"home": wish("of bob", bob)})
    campaigns.want({"home": wish("of ann, late", ann)})
    found = [(each.asked, each.status) for each in campaigns.history()]
    assert found == [("of ann", "replaced"), ("of bob", "wanted"), ("of ann, late", "failed")]
    assert "lost the lease" in campaigns.history()[-1].reason
    campaigns.want({"home": Wish("by hand", Plan())})
    assert [each.asked for each in campaigns.open()] == ["by hand"]


def a_round_whose_process_ended_is_lost_at_once_and_says_why(store: StateStore) -> None:
    table = store.learning("shop")
    ann = acquired(table, "ann")
    table.begin(ann)
    table.give_up("bob", "it is not bob's")
    assert table.now().is_held
    table.give_up("ann", "exit code -9")
    [found] = table.now().rounds
    assert (found.status, found.reason) == ("lost", "exit code -9")
    assert not table.now().is_held
    assert not table.renew(ann, HOUR_S)
    assert acquired(table, "bob").number == ann.number + 1


def what_was_learnt_and_judged_is_remembered_however_often_nothing_was_new(
    store: StateStore,
) -> None:
    table = store.learning("shop")
    assert table.newest_full() is None
    ann = acquired(table, "ann")
    table.begin(ann)
    table.tell(ann, mode="FULL", release="r-1", published="r-2", import_id="i-1")
    assert table.newest_full() is None  # it is at work
    assert not table.has_judged("i-1", "r-1")
    table.end(ann, "kept", "no better")
    for _ in range(60):
        table.add("nothing", "nothing is new")
    found = table.newest_full()
    assert found is not None
    assert found.release == "r-1"
    told = [("i-1", "r-1"), ("i-1", "r-2"), ("i-1", "r-3"), ("i-2", "r-1")]
    assert [table.has_judged(*each) for each in told] == [True, True, False, False]
    assert not store.learning("other").has_judged("i-1", "r-1")
    table.add("failed", "no disk")
    assert table.newest_full() == found


def of_rounds_with_and_without_news_the_newest_stay(store: StateStore) -> None:
    table, other = store.learning("shop"), store.learning("other")
    group = store.log.dataset_group
    first = {"dataset_group": group, "number": 0, "owner": "", "began_at_us": 1}
    empty = dict.fromkeys(("step", "mode", "release", "published", "import_id"), "")
    counts = {"kept": 3, "nothing": KEPT_ROUNDS - 2, "held": 1, "failed": KEPT_ROUNDS - 3}
    rows = [
        {**first, **empty, "application": application, "status": status, "reason": str(number)}
        for application in ("other", "shop")
        for status, count in counts.items()
        for number in range(count)
    ]
    store._database.write(lambda connection: connection.execute(insert(learning_rounds), rows))

    def stored(of: LearningTable) -> list[tuple[str, str]]:
        return [(each.status, each.reason) for each in of.now(3 * KEPT_ROUNDS).rounds]

    table.add("nothing", "newest")
    assert len(stored(table)) == len(rows) // 2 + 1
    table.add("failed", "newest")
    found = stored(table)
    assert len(found) == 2 * KEPT_ROUNDS
    assert found[:2] == [("failed", "newest"), ("nothing", "newest")]
    assert ("kept", "0") not in found
    assert {("kept", "1"), ("nothing", "0"), ("held", "0")} <= set(found)
    table.add("held", "newest")
    assert ("nothing", "0") not in stored(table)
    assert ("nothing", "1") in stored(table)
    assert len(stored(other)) == len(rows) // 2


LAWS: list[Law] = [
    one_at_a_time_holds_it_and_each_has_a_larger_number,
    a_lease_holds_as_long_as_it_is_renewed,
    a_round_is_told_of_until_its_lease_is_lost,
    what_was_learnt_under_a_lost_lease_is_never_served,
    a_round_whose_process_ended_is_lost_at_once_and_says_why,
    what_was_learnt_and_judged_is_remembered_however_often_nothing_was_new,
    of_rounds_with_and_without_news_the_newest_stay,
]
