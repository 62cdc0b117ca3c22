"""The log of a serving process, read as a program would."""

import json
import logging
from collections.abc import Iterator

import pytest

from raysys.serving.log_lines import REQUEST_ID, start_logging


@pytest.fixture(autouse=True)
def _logger_as_it_was() -> Iterator[None]:
    logger = logging.getLogger("raysys")
    before = logger.handlers, logger.level, logger.propagate
    yield
    logger.handlers, logger.level, logger.propagate = before


def test_a_line_is_one_object_with_what_is_known_of_process_and_request(
    capsys: pytest.CaptureFixture[str],
) -> None:
    start_logging(shop="films", part="gateway")
    start_logging(shop="films", part="shard-1")  # replaces the first, or there were four lines
    logging.getLogger("raysys.serving").warning("%s is\naway", "IndexShard-1")
    token = REQUEST_ID.set("r-1")
    try:
        raise KeyError("secret")
    except KeyError:
        logging.getLogger("raysys.api").exception("/recommendations failed")
    REQUEST_ID.reset(token)
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert first.pop("time").endswith("+00:00")
    assert first == {
        "level": "WARNING",
        "logger": "raysys.serving",
        "message": "IndexShard-1 is\naway",
        "shop": "films",
        "part": "shard-1",
    }
    assert (second["request_id"], second["level"]) == ("r-1", "ERROR")
    assert second["exception"].endswith("KeyError: 'secret'")


def test_debug_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging(part="gateway")
    logging.getLogger("raysys.api").debug("The client hung up")
    assert capsys.readouterr().err == ""
