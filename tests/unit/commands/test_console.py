"""Where there is no terminal, what a command shows is fit for a log."""

import pytest
from rich.table import Table

from raysys.commands.console import Console


def test_a_console_without_a_terminal_writes_lines_and_keeps_standard_output_clean(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail_halfway() -> None:
        with Console(as_json=True).progress("rows") as advance:
            advance(1, 4, "begun")
            advance(2, 4, "half done")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_halfway()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "  rows: 1 of 4, begun (0 s)",
        "  rows: 2 of 4, half done (0 s)",
    ]
    assert "\x1b" not in captured.err


def test_a_table_in_a_log_is_not_squeezed_into_a_terminal_s_width(
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = Table()
    for name in ("a" * 35, "b" * 35, "c" * 35):
        table.add_column(name)
    Console().say(table)
    assert ("a" * 35) in capsys.readouterr().out.splitlines()[1]


def test_brackets_are_told_as_they_are_unless_they_are_meant_as_markup(
    capsys: pytest.CaptureFixture[str],
) -> None:
    console = Console()
    console.say("  3 rows in logs/[2026].csv and [bold]", style="yellow")
    console.step("Import logs[a]")
    console.say("[bold]done[/bold]", markup=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["  3 rows in logs/[2026].csv and [bold]", "", "▸ Import logs[a]", "done"]
