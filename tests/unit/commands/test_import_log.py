"""`raysys import` hands on what it is asked for; `--movielens-100k` needs a place to write only."""

import contextlib
from pathlib import Path
from typing import Any

import pytest

from raysys.cli import main
from raysys.commands import import_log, origins
from raysys.errors import DatasetError
from raysys.logs.manifest import ImportMode
from raysys.logs.movielens import LogFiles


def test_movielens_is_fetched_into_the_cache_and_imported_with_its_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def fetch(cache: Path) -> LogFiles:
        return LogFiles("MovieLens-100K", cache / "inter", cache / "item", cache / "user")

    def remember(interactions: list[Path], destination: Path, _: Any, **more: Any) -> Any:
        asked.update(more, interactions=interactions, destination=destination)
        return dict.fromkeys(
            ("rows_accepted", "rows_quarantined", "rows_duplicate", "users", "items"), 1
        )

    monkeypatch.setattr(import_log, "ray_cluster", lambda *_, **__: contextlib.nullcontext())
    monkeypatch.setattr(origins, "fetch_movielens_100k", fetch)
    monkeypatch.setattr(import_log, "import_and_report", remember)
    cache, to = tmp_path / "cache", tmp_path / "dataset"
    assert main(["import", "--movielens-100k", "--cache", str(cache), "--to", str(to)]) == 0
    assert asked == {
        "interactions": [cache / "inter"],
        "items": cache / "item",
        "users": cache / "user",
        "destination": to,
        "layouts": [],
        "mode": ImportMode.FULL,
        "num_shards": None,
        "dataset_group": "default",
    }


@pytest.mark.parametrize(("told", "mode"), [("full", "FULL"), ("incremental", "INCREMENTAL")])
def test_the_mode_is_handed_on_and_no_other_is_known(
    told: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[ImportMode] = []

    def remember(*_: Any, mode: ImportMode, **__: Any) -> Any:
        asked.append(mode)
        raise DatasetError("enough")

    monkeypatch.setattr(import_log, "ray_cluster", lambda *_, **__: contextlib.nullcontext())
    monkeypatch.setattr(import_log, "import_and_report", remember)
    assert main(["import", "--interactions", "log.csv", "--to", "data", "--mode", told]) == 1
    assert asked == [mode]
    with pytest.raises(SystemExit):
        main(["import", "--interactions", "log.csv", "--to", "data", "--mode", "some"])
