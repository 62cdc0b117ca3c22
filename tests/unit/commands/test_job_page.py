"""The job page is told in text, and never costs a command its work."""

import json

import pytest

from raysys.commands import job_page


def test_what_is_shown_is_text_and_what_is_not_known_is_left_out() -> None:
    shown = job_page.as_text({"release": "r1", "users": 60, "ndcg_at_10": 0.12345, "group": None})
    assert shown == {"release": "r1", "users": "60", "ndcg_at_10": "0.1235"}


def test_outside_of_a_submitted_job_there_is_no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)
    monkeypatch.setattr(job_page, "_add", None)  # would fail if it were called
    job_page.add({"release": "r1"})


def test_a_page_that_cannot_be_written_to_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config = {"metadata": {"job_submission_id": "raysubmit_1"}}
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps(config))

    async def fail(*_: object) -> None:
        raise LookupError("Ray knows no such job")

    monkeypatch.setattr(job_page, "_add", fail)
    job_page.add({"release": "r1"})
    assert caplog.messages == ["The job page of raysubmit_1 lacks release: Ray knows no such job"]
