"""What a failure of the database means: try again, or tell the caller in raysys's words."""

from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoFreeConnectionError

from raysys.errors import StateError, StateUnavailableError

_DEADLOCK, _SERIALIZATION = "40P01", "40001"  # SQLSTATE; PostgreSQL asks for another attempt


class WriteConflict(Exception):
    """Another transaction changed the same row first; the same transaction may succeed now."""


def is_worth_another_attempt(error: WriteConflict | SQLAlchemyError) -> bool:
    """Return whether the same transaction, run again at once, may succeed."""
    if not isinstance(error, DBAPIError):
        return isinstance(error, WriteConflict)
    sqlstate = getattr(error.orig, "sqlstate", None)
    return error.connection_invalidated or sqlstate in (_DEADLOCK, _SERIALIZATION)


def explained(error: WriteConflict | SQLAlchemyError, database: str) -> StateError:
    """Return the error to raise: what is wrong with `database` and what to do about it."""
    if isinstance(error, WriteConflict):
        return StateUnavailableError(
            f"The database {database} is busy: other writers changed the same users again and "
            f"again, so this write was given up. Try again."
        )
    if isinstance(error, NoFreeConnectionError):
        return StateUnavailableError(
            f"The database {database} is busy: every connection of this process is in use. Try "
            f"again; if it stays so, statements take too long."
        )
    if not isinstance(error, DBAPIError):
        return StateError(f"The database {database} could not do what it was asked: {error}")
    cause = str(error.orig).strip()
    for symptom, meaning in _SYMPTOMS:
        if symptom in cause:
            error_class, advice = meaning
            return error_class(f"The database {database} {advice} ({cause}).")
    if isinstance(error, OperationalError):
        return StateUnavailableError(
            f"The database {database} cannot be used now: {cause}. Check that it runs, accepts "
            f"connections and has space, then try again."
        )
    return StateError(f"The database {database} refused a statement: {cause}")


_UNUSABLE_PLACE = (
    StateError,
    "cannot be opened for writing; its file and directory must be writable by the user that "
    "raysys runs as",
)
# SQLite tells these apart only by their text.
_SYMPTOMS: tuple[tuple[str, tuple[type[StateError], str]], ...] = (
    (
        "database is locked",
        (
            StateUnavailableError,
            "is locked: another process keeps a transaction open. Try again, and look for that "
            "process",
        ),
    ),
    ("unable to open database file", _UNUSABLE_PLACE),
    ("readonly database", _UNUSABLE_PLACE),
    (
        "file is not a database",
        (
            StateError,
            "is not an SQLite file, or is damaged. Name another file, or restore this one from a "
            "copy; it was left as it is",
        ),
    ),
)
