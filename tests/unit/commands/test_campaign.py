"""`raysys campaign list`. Run: pytest tests/unit/commands"""

import contextlib
from pathlib import Path

import pytest

from raysys.cli import main
from raysys.state.campaigns import Plan, Variant, Wish
from raysys.state.store import StateStore


def test_it_says_what_was_deployed_and_why_the_latest_settings_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    command = ["campaign", "list", "--database", url, "--dataset-group", "films"]
    with contextlib.closing(StateStore(url, "films")) as store:
        table = store.campaigns("default")
        variants = (Variant("/r/a", "a", 9.0), Variant("/r/b", "b", 1.0))
        table.want({"home": Wish("words", Plan(variants))})
        assert main(command) == 0
        shown = capsys.readouterr().out
        assert "a (90%)" in shown
        assert "refused" not in shown
        table.follow("{}")
        table.refuse("campaigns.home.colour: unknown key")
        assert main(command) == 0
        assert "refused, and everything goes on as it was. campaigns.home.colour: unknown key" in (
            " ".join(capsys.readouterr().out.split())
        )
