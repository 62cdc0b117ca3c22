"""What a gateway does about filters: it finds out what one demands of a query.

Letters for shapes:
    N  items of the release    M  items found
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from raysys.dataset.histories import offsets_of
from raysys.errors import InvalidInputError
from raysys.filters.binding import Bound, bind
from raysys.filters.expression import Condition, Constant, CurrentItem, Expression
from raysys.filters.fields import check_fields, known_users
from raysys.filters.masks import EVERYTHING, KeptMasks, Rule, Table
from raysys.filters.values import Values, parse_values
from raysys.index.home import keys_of_items
from raysys.index.put_items import NOTHING_PUT, PutItems
from raysys.serving.catalogue_now import CatalogueNow, Demand
from raysys.serving.exchange import Filtering
from raysys.serving.messages import Query
from raysys.serving.named_filters import NamedFilters, ReadFilters
from raysys.serving.past_items import items_of_types
from raysys.serving.release_parts import ReleaseParts
from raysys.serving.visitors import NO_ITEMS, NO_KEYS
from raysys.state.user_state import UserState

_MOST_KEPT = 1 << 10
"""Of each kind of thing that is made from the values of a request, which may be 25 kB long."""


@dataclass(frozen=True, slots=True, eq=False)
class Applied:
    """The filter of one query before it is known who asks: checked, so that nothing of it fails."""

    expression: Expression
    values: Values
    bound: Bound | None
    """What it demands of whoever asks for whatever item; None where that makes a difference."""
    demand: Demand | None
    """The same, where it does not depend on the past of a user either."""


class GatewayFilters:
    """The filters of one gateway and one release.

    Args:
        put: what was put since the release, as it is known now.
    """

    def __init__(
        self, release: ReleaseParts, read: ReadFilters, put: Callable[[], PutItems]
    ) -> None:
        self._release = release
        self._named = NamedFilters(read)
        self._items = Table(release.item_table)
        self._released = KeptMasks(self._items)
        self._put = put
        self._now = CatalogueNow(NOTHING_PUT, self._items, self._released, release.popular)
        self._users = None if release.user_table is None else Table(release.user_table)
        self._applied: dict[tuple[object, ...], Applied] = {}
        self._answers: dict[tuple[int | str, tuple[Condition, ...]], bool] = {}

    async def applied(self, query: Query) -> Applied | None:
        """Return the filter that a query names, None where it names none.

        Raises:
            ResourceNotFoundError: there is no such filter.
            InvalidInputError: its values do not fit it, or it asks for what cannot be known here.
            UnavailableError: the database is away, and was never asked before.
        """
        if query.filter_name is None:
            return None
        expression = await self._named.expression(query.filter_name)
        given = tuple(query.filter_values.items())
        key = (expression, given, query.user_id is None, query.item_id is None)
        found = self._applied.get(key)
        if found is None:
            self._check(expression, query)
            if len(self._applied) >= _MOST_KEPT:
                self._applied.clear()
            found = self._applied[key] = _applied(expression, query.filter_values)
        return found

    def demand(self, applied: Applied, query: Query, state: UserState) -> Demand:
        """Return what a filter demands of a query.

        Args:
            state: what the database knows of the user.
        """
        if applied.demand is not None:
            return applied.demand
        # That of the user in the release's histories; -1 where they have none.
        row = -1 if query.user_id is None else self._row_of(query.user_id)
        bound = applied.bound or bind(
            applied.expression,
            applied.values,
            lambda conditions: self._user_meets(row, state.properties, conditions),
            lambda field: self._constants_of(query.item_id or "", field),
        )
        if not bound.has_past:
            return Demand(bound.rule)
        return self._with_past(bound, row, state)

    async def popular(self, demand: Demand) -> NDArray[np.integer]:
        """Return the items that may be shown by key, the most popular first, (M,)."""
        now = self._at_present()
        kept = now.kept_popular(demand)
        return await asyncio.to_thread(now.popular, demand) if kept is None else kept

    async def allows(self, demand: Demand, keys: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return whether each of some items may be shown, in the same order.

        Of an item that neither the release knows nor anybody put no rule lets anything through.
        """
        now = self._at_present()
        return await asyncio.to_thread(now.allows, demand, keys)

    def _at_present(self) -> CatalogueNow:
        put = self._put()
        if self._now.put is not put:
            self._now = CatalogueNow(put, self._items, self._released, self._release.popular)
        return self._now

    def _check(self, expression: Expression, query: Query) -> None:
        """Refuse now what would later fail together with the rest of its batch."""
        release = self._release
        for condition in expression.conditions():
            if condition.dataset != "Items" and query.user_id is None:
                raise InvalidInputError(
                    f"The filter asks for {condition.dataset}.{condition.field}, so the request "
                    f"needs a userId."
                )
            if condition.dataset == "Interactions" and release.interaction_types is None:
                raise InvalidInputError(
                    f"The filter asks for types of interactions, which release {release.name} does "
                    f"not keep: it was made by an earlier raysys. Build it again."
                )
            for value in condition.values:
                if isinstance(value, CurrentItem) and query.item_id is None:
                    raise InvalidInputError(
                        f"The filter asks for CurrentItem.{value.field}, so the request needs an "
                        f"itemId."
                    )
        check_fields(expression, self._items, self._users, release=release.name)

    def _user_meets(
        self, row: int, properties: str | None, conditions: tuple[Condition, ...]
    ) -> bool:
        """Return whether a user meets the conditions: by what a client put of them, if one did."""
        key = (row if properties is None else properties, conditions)
        found = self._answers.get(key)
        if found is None:
            if len(self._answers) >= _MOST_KEPT:
                self._answers.clear()
            users = known_users(self._users, release=self._release.name)
            if properties is not None:
                one = users.of_properties([""], [msgspec.json.decode(properties)])
            else:
                one = users.row(row) if row >= 0 else users.row_of_nobody()
            found = self._answers[key] = bool(one.all_of(conditions)[0])
        return found

    def _row_of(self, user_id: str) -> int:
        return int(self._release.histories.rows_of([user_id])[0])

    def _constants_of(self, item_id: str, field: str) -> tuple[Constant, ...]:
        key = int(keys_of_items([item_id], self._release.items)[0])
        put = self._put()
        if put.of(key) is not None:
            return put.table([key], self._items).constants(field, 0)
        return () if key < 0 else self._items.constants(field, key - 1)

    def _with_past(self, bound: Bound, row: int, state: UserState) -> Demand:
        included = items_of_types(self._release, bound.included, row, state)
        excluded = items_of_types(self._release, bound.excluded, row, state)
        return Demand(bound.rule, included[0], excluded[0], included[1], excluded[1], True)


def _applied(expression: Expression, given: Mapping[str, str]) -> Applied:
    """Bind a filter that was checked as far as no user and no item matter."""
    values = parse_values(expression, given)
    is_same_for_all = not any(
        condition.dataset == "CurrentUser"
        or any(isinstance(value, CurrentItem) for value in condition.values)
        for condition in expression.conditions()
    )
    if not is_same_for_all:
        return Applied(expression, values, None, None)
    bound = bind(expression, values, lambda _: False, lambda _: ())
    return Applied(expression, values, bound, None if bound.has_past else Demand(bound.rule))


def filtering_of(demands: Sequence[Demand | None]) -> Filtering | None:
    """Return what the shards need to know of the filters of a batch, None where there are none."""
    if not any(demand is not None and demand.rule != EVERYTHING for demand in demands):
        return None
    places: dict[Rule, int] = {}
    rule_of = [
        -1 if demand is None else places.setdefault(demand.rule, len(places)) for demand in demands
    ]
    included = [NO_ITEMS if demand is None else demand.included_nums for demand in demands]
    keys = [NO_KEYS if demand is None else demand.included_keys for demand in demands]
    return Filtering(
        [*places],
        np.array(rule_of, dtype=np.int64),
        offsets_of([len(nums) for nums in included]),
        np.concatenate(included),
        offsets_of([len(each) for each in keys]),
        np.concatenate(keys),
    )
