"""Many rows are one statement that stays the same. What it stores is tested on real databases."""

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from raysys.state.many_rows import insert_rows_of, is_one_of, parameters
from raysys.state.tables import events, user_states


def test_a_postgresql_statement_has_one_parameter_for_each_column_however_many_rows() -> None:
    for table, counting in ((events, {"event_num"}), (user_states, set[str]())):
        compiled = insert_rows_of("postgresql", table).compile(dialect=postgresql.dialect())
        assert "unnest(" in str(compiled)
        names = {column.name for column in table.columns} - counting
        assert compiled.params.keys() == names
        rows = [{name: f"{name}-{row}" for name in names} for row in range(3)]
        bound = parameters("postgresql", rows)
        assert bound.keys() == names
        assert bound["user_id"] == ["user_id-0", "user_id-1", "user_id-2"]
        assert parameters("sqlite", rows) == rows


def test_many_keys_are_one_parameter_of_postgresql() -> None:
    def text(name: str, dialect: object) -> str:
        query = select(events.c.item_id).where(is_one_of(name, events.c.user_id, "user_ids"))
        return str(query.compile(dialect=dialect))  # type: ignore[arg-type]

    assert "= any(%(user_ids)s" in text("postgresql", postgresql.dialect()).lower()
    assert " IN " in text("sqlite", sqlite.dialect())
