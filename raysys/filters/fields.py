"""Whether a release knows the fields that a filter asks for."""

from raysys.errors import InvalidInputError
from raysys.filters.expression import CurrentItem, Expression
from raysys.filters.masks import Table


def check_fields(
    expression: Expression, items: Table, users: Table | None, *, release: str
) -> None:
    """Refuse a field of items or of the current user that is no column, or cannot be compared.

    Args:
        items, users: of the release; None: it was made of a dataset without a table of users.
        release: its name, for whoever reads the error.

    Raises:
        InvalidInputError
    """
    for condition in expression.conditions():
        if condition.dataset == "CurrentUser":
            known_users(users, release=release).name_of(condition.field)
        elif condition.dataset == "Items":
            items.name_of(condition.field)
        for value in condition.values:
            if isinstance(value, CurrentItem):
                items.name_of(value.field)


def known_users(users: Table | None, *, release: str) -> Table:
    """Return a release's table of users; InvalidInputError where it has none."""
    if users is None:
        raise InvalidInputError(
            f"The filter asks for CurrentUser, but release {release} was made of a dataset without "
            f"a table of users. Import one (`raysys import --users`)."
        )
    return users
