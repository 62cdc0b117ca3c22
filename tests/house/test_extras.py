"""What is optional for users is there for the tests, so that CI leaves none of them out."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_make_setup_installs_every_extra_but_the_one_for_gpus() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    given = re.search(r"--editable '\.\[(.*)\]'", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert given is not None
    installed = given[1].replace("$(EXTRA)", "cpu").split(",")
    assert {*installed, "gpu"} == set(project["optional-dependencies"])
