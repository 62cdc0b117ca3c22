"""What changed among the items since the release: puts, hidings, impressions and clicks, under one
version.

A version is one transaction. Its row of `delta_versions` is locked from before the first change
until the commit, so versions appear in their order and a poller that asks for what changed since
the version that it knows misses nothing.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Connection,
    Executable,
    String,
    bindparam,
    case,
    func,
    literal_column,
    null,
    select,
    union_all,
    update,
)

from raysys.state.events import Event
from raysys.state.items import Changes, Item, ItemCount, ItemHiding, Reception, StoredItem
from raysys.state.many_rows import RowByRow, insert_of, is_one_of
from raysys.state.shown_lists import ShownLists
from raysys.state.slates import Slate
from raysys.state.tables import delta_versions, hidden_items, item_counts, items

_KEY = ["dataset_group", "item_id"]
_VERSION, _ITEM, _HIDING, _COUNT, _RECEPTION = range(5)  # the kinds of rows of `changes`
_REMEMBERED_IMPRESSIONS = 1_000_000


class DeltaStatements:
    """The statements on items and counts for one dialect."""

    def __init__(self, dialect_name: str) -> None:
        insert = insert_of(dialect_name)
        raised = insert(delta_versions).values(version=1)
        self.raise_version: Executable = raised.on_conflict_do_update(
            index_elements=["dataset_group"], set_={"version": delta_versions.c.version + 1}
        ).returning(delta_versions.c.version)

        put = insert(items)
        given = bindparam("given_created_at_us", type_=BigInteger)
        self.put_items: Executable = put.on_conflict_do_update(
            index_elements=_KEY,
            set_={
                "properties": put.excluded.properties,
                "created_at_us": func.coalesce(given, items.c.created_at_us),
                "version": put.excluded.version,
            },
        )
        self.begin_counts: Executable = insert(item_counts).on_conflict_do_nothing(
            index_elements=_KEY
        )

        add, counts = insert(item_counts), item_counts.c
        add = add.on_conflict_do_update(
            index_elements=_KEY,
            set_={
                "impressions": counts.impressions + add.excluded.impressions,
                "clicks": counts.clicks + add.excluded.clicks,
                "version": add.excluded.version,
            },
        )
        self.add_counts = RowByRow(dialect_name, add, [each.name for each in counts])
        of_all = delta_versions.c
        shown = of_all.impressions + bindparam("new_impressions", type_=BigInteger)
        clicked = of_all.clicks + bindparam("new_clicks", type_=BigInteger)
        is_much = shown > _REMEMBERED_IMPRESSIONS
        self.add_reception: Executable = (
            update(delta_versions)
            .where(of_all.dataset_group == bindparam("of_dataset_group"))
            .values(
                impressions=case((is_much, shown // 2), else_=shown),
                clicks=case((is_much, clicked // 2), else_=clicked),
            )
        )
        self.select_counted: Executable = select(counts.item_id).where(
            counts.dataset_group == bindparam("dataset_group"),
            is_one_of(dialect_name, counts.item_id, "item_ids"),
        )
        self.version: Executable = select(delta_versions.c.version).where(
            delta_versions.c.dataset_group == bindparam("dataset_group")
        )
        self.lock_version: Executable = (
            select(delta_versions.c.version)
            .where(delta_versions.c.dataset_group == bindparam("dataset_group"))
            .with_for_update()
        )
        self.begin_versions: Executable = insert(delta_versions).on_conflict_do_nothing()
        hide = insert(hidden_items)
        self.hide: Executable = hide.on_conflict_do_update(
            index_elements=_KEY,
            set_={"is_hidden": hide.excluded.is_hidden, "version": hide.excluded.version},
        )
        self.hidden: Executable = (
            select(hidden_items.c.item_id)
            .where(hidden_items.c.dataset_group == bindparam("dataset_group"))
            .where(hidden_items.c.is_hidden)
            .order_by(hidden_items.c.item_id)
        )
        self.changes: Executable = _changes(has_counts=True)
        self.changes_without_counts: Executable = _changes(has_counts=False)


class ItemDelta:
    """The items and counts of one dataset group. Every method runs inside its caller's transaction.

    Whoever changes something here locks nothing afterwards that another transaction may hold while
    it waits for this one: the version comes last, so nobody waits in a circle.
    """

    def __init__(self, dialect_name: str, dataset_group: str) -> None:
        self._statements = DeltaStatements(dialect_name)
        self._lists = ShownLists(dataset_group)
        self._dataset_group = dataset_group

    def version(self, connection: Connection) -> int:
        """Return the newest version; 0 where nothing ever changed."""
        row = {"dataset_group": self._dataset_group}
        return int(connection.execute(self._statements.version, row).scalar_one_or_none() or 0)

    def put(self, connection: Connection, items: Sequence[Item], now_us: int) -> int:
        """Store items of distinct ids and begin to count them; return the new version."""
        version = self._raise_version(connection)
        rows = [
            {
                **self._row(item.item_id, version),
                "properties": item.properties,
                "created_at_us": now_us if item.created_at_us is None else item.created_at_us,
                "given_created_at_us": item.created_at_us,
            }
            for item in items
        ]
        connection.execute(self._statements.put_items, rows)
        begun = [
            {**self._row(item.item_id, version), "impressions": 0, "clicks": 0} for item in items
        ]
        connection.execute(self._statements.begin_counts, begun)
        return version

    def hide(self, connection: Connection, item_ids: Iterable[str], is_hidden: bool) -> int:
        """Keep items of distinct ids from everybody, or no longer; return the new version."""
        version = self._raise_version(connection)
        rows = [
            {**self._row(item_id, version), "is_hidden": is_hidden} for item_id in sorted(item_ids)
        ]
        connection.execute(self._statements.hide, rows)
        return version

    def hidden(self, connection: Connection) -> list[str]:
        """Return the ids of the items that are kept from everybody."""
        row = {"dataset_group": self._dataset_group}
        return list(connection.execute(self._statements.hidden, row).scalars())

    def count_events(self, connection: Connection, events: Iterable[tuple[Event, bool]]) -> None:
        """Add clicks and impressions that new events name, for the items that are counted.

        Args:
            events: each with whether it is a click, all stored. Whether or not, what it says was
                shown was, once for all events of a session that say the same, as those of one page
                do. What it says of a list that it names stands instead of what the list counted
                itself, and a click in a list counts only where that showed the item;
                `count_slates` heeds those that came before their list.
        """
        clicks: list[tuple[str, str | None]] = []
        shown: set[tuple[str, frozenset[str]]] = set()
        named: set[str] = set()
        telling: dict[str, set[str]] = {}  # identities of events by the list of which they tell
        for event, is_click in events:
            if is_click and event.item_id is not None:
                clicks.append((event.item_id, event.recommendation_id))
                named.add(event.item_id)
            if event.impression:
                named.update(event.impression)
                if event.recommendation_id is None:
                    shown.add((event.session_id, frozenset(event.impression)))
                else:
                    telling.setdefault(event.recommendation_id, set()).add(event.identity())
        counted = self._counted(connection, named)
        if not counted and not telling:
            return
        # The lists are read under the version's lock. Whoever stores one at this moment either has
        # committed it or reads the events later: what they tell is counted by the one or the other.
        self._lock(connection)
        names = {name for item_id, name in clicks if name is not None and item_id in counted}
        lists = self._lists.lists(connection, names | telling.keys())
        told = self._lists.told(connection, lists)
        showed = {
            name: shown_list.item_ids | (told[name].visible() or frozenset())
            for name, shown_list in lists.items()
        }
        counted_clicks = Counter(
            item_id
            for item_id, name in clicks
            if item_id in counted and (name is None or item_id in showed.get(name, ()))
        )
        impressions = Counter(
            item_id for _, item_ids in shown for item_id in item_ids if item_id in counted
        )
        for name in telling.keys() & lists.keys():
            before = told[name].visible(without=telling[name])
            before = lists[name].fresh_item_ids if before is None else before
            now = told[name].visible() or frozenset()
            impressions.update((now - before) & counted)
            impressions.subtract(before - now)
        self._add(connection, impressions, counted_clicks)

    def count_slates(self, connection: Connection, slates: Iterable[Slate]) -> None:
        """Add an impression to every fresh item of new slates; one not counted yet begins here.

        What events told of them that came before is heeded: their clicks are added, and where they
        say what was visible that counts instead.
        """
        fresh = {slate.recommendation_id: frozenset(slate.fresh_item_ids) for slate in slates}
        if not fresh:
            return
        self._lock(connection)
        told = self._lists.told(connection, fresh)
        visible = {name: told[name].visible() for name in fresh}
        begun = frozenset[str]().union(*fresh.values())
        others = {item_id for items in visible.values() for item_id in items or ()} - begun
        counted = begun | self._counted(connection, others)
        impressions = Counter(dict.fromkeys(begun, 0))
        clicks = Counter[str]()
        for name, fresh_items in fresh.items():
            items = visible[name]
            impressions.update(fresh_items if items is None else items & counted)
            shown = fresh_items | (items or frozenset())
            clicks.update(item for item in told[name].clicks if item in shown & counted)
        self._add(connection, impressions, clicks)

    def changes(self, connection: Connection, since: int, *, has_counts: bool = True) -> Changes:
        """Return what changed after the version `since`, as of one moment."""
        version = 0
        stored: list[StoredItem] = []
        counts: list[ItemCount] = []
        hidings: list[ItemHiding] = []
        reception = Reception()
        parameters = {"dataset_group": self._dataset_group, "since": since}
        statements = self._statements
        asked = statements.changes if has_counts else statements.changes_without_counts
        for row in connection.execute(asked, parameters):
            kind, _, item_id, properties, first, second = row
            if kind == _ITEM:
                stored.append(StoredItem(item_id, properties, first))
            elif kind == _HIDING:
                hidings.append(ItemHiding(item_id, bool(first)))
            elif kind == _COUNT:
                counts.append(ItemCount(item_id, first, second))
            elif kind == _RECEPTION:
                reception = Reception(first, second)
            else:
                version = first
        return Changes(version, stored, counts, hidings, reception)

    def _counted(self, connection: Connection, item_ids: Iterable[str]) -> frozenset[str]:
        """Return those of some items that are counted."""
        parameters = {"dataset_group": self._dataset_group, "item_ids": [*item_ids]}
        if not parameters["item_ids"]:
            return frozenset()
        return frozenset(connection.execute(self._statements.select_counted, parameters).scalars())

    def _add(
        self, connection: Connection, impressions: Mapping[str, int], clicks: Mapping[str, int]
    ) -> None:
        """Add to the counts of the items that have a key, and begin those that are not counted."""
        item_ids = sorted({*impressions, *clicks})
        if not item_ids:
            return
        version = self._raise_version(connection)
        rows = [
            {
                **self._row(item_id, version),
                "impressions": impressions.get(item_id, 0),
                "clicks": clicks.get(item_id, 0),
            }
            for item_id in item_ids
        ]
        self._statements.add_counts.execute(connection, rows)
        added = {
            "of_dataset_group": self._dataset_group,
            "new_impressions": sum(impressions.values()),
            "new_clicks": sum(clicks.values()),
        }
        connection.execute(self._statements.add_reception, added)

    def _lock(self, connection: Connection) -> None:
        """Let nobody else change anything here until the commit; the version stays as it is."""
        row = {"dataset_group": self._dataset_group}
        if connection.execute(self._statements.lock_version, row).first() is None:
            connection.execute(self._statements.begin_versions, {**row, "version": 0})
            connection.execute(self._statements.lock_version, row).one()

    def _raise_version(self, connection: Connection) -> int:
        row = {"dataset_group": self._dataset_group}
        return int(connection.execute(self._statements.raise_version, row).scalar_one())

    def _row(self, item_id: str, version: int) -> dict[str, object]:
        return {"dataset_group": self._dataset_group, "item_id": item_id, "version": version}


def _changes(*, has_counts: bool) -> Executable:
    """One statement for the version and all that changed, so that everything is of one moment."""
    dataset_group: BindParameter[str] = bindparam("dataset_group")
    since = bindparam("since", type_=BigInteger)
    no_text, no_number = null().cast(String), literal_column("0", BigInteger)
    versions = select(
        literal_column(str(_VERSION)).label("kind"),
        delta_versions.c.version.label("version"),
        no_text.label("item_id"),
        no_text.label("properties"),
        delta_versions.c.version.label("first"),
        no_number.label("second"),
    ).where(delta_versions.c.dataset_group == dataset_group)
    changed_items = select(
        literal_column(str(_ITEM)),
        items.c.version,
        items.c.item_id,
        items.c.properties,
        items.c.created_at_us,
        no_number,
    ).where(items.c.dataset_group == dataset_group, items.c.version > since)
    changed_counts = select(
        literal_column(str(_COUNT)),
        item_counts.c.version,
        item_counts.c.item_id,
        no_text,
        item_counts.c.impressions,
        item_counts.c.clicks,
    ).where(item_counts.c.dataset_group == dataset_group, item_counts.c.version > since)
    is_hidden = case((hidden_items.c.is_hidden, literal_column("1", BigInteger)), else_=no_number)
    changed_hidings = select(
        literal_column(str(_HIDING)),
        hidden_items.c.version,
        hidden_items.c.item_id,
        no_text,
        is_hidden,
        no_number,
    ).where(hidden_items.c.dataset_group == dataset_group, hidden_items.c.version > since)
    reception = select(
        literal_column(str(_RECEPTION)),
        delta_versions.c.version,
        no_text,
        no_text,
        delta_versions.c.impressions,
        delta_versions.c.clicks,
    ).where(delta_versions.c.dataset_group == dataset_group)
    parts = [versions, changed_items, changed_hidings]
    if has_counts:
        parts += [changed_counts, reception]
    return union_all(*parts).order_by("kind", "version", "item_id")
