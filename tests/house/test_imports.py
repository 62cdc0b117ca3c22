"""The rules of the house about imports, read from the source: see `make check`.

1. A room imports the hall, `state` and rooms to its left; only `commands` opens several doors.
2. ray, faiss, SQL and torch are touched in a short list of places.
3. Importing anything starts nothing, and works with Ray blocked where no Ray is named.
"""

import ast
import functools
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import raysys

PACKAGE = Path(raysys.__file__).parent
ROOMS = [
    "logs",
    "dataset",
    "models",
    "training",
    "policy",
    "evaluation",
    "filters",
    "index",
    "serving",
    "control",
    "api",
]
HALL = {path.stem for path in PACKAGE.glob("*.py")} - {"cli", "__main__"} | {"config"}

MAY_IMPORT_RAY = {
    "logs/calls.py",
    "logs/event_intake.py",
    "logs/importing.py",
    "logs/metrics.py",
    "training/checkpoints.py",
    "training/halving.py",
    "training/loading.py",
    "training/proposals.py",
    "training/trainer.py",
    "training/tuner.py",
    "training/metrics.py",
    "training/worker.py",
    "serving/deployments.py",
    "serving/learning_job.py",
    "serving/nodes.py",
    "serving/metrics.py",
    "api/build.py",
}
MAY_IMPORT_FAISS = ("index/",)
MAY_IMPORT_SQL = ("state/", "logs/sql.py")
MAY_IMPORT_TORCH = ("models/", "training/", "index/device.py", "serving/encoder.py")

SOURCES = sorted(PACKAGE.rglob("*.py"))


def _name(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def _imported_modules(path: Path) -> frozenset[str]:
    """Return every module that a file names in an import, wherever the import stands."""
    names: set[str] = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{_name(path)} has a relative import"
            assert node.module is not None
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def _rooms_imported(path: Path) -> set[str]:
    parts = [name.split(".") for name in _imported_modules(path)]
    return {part[1] for part in parts if part[0] == "raysys" and len(part) > 1}


def _imports(path: Path, library: str) -> bool:
    return any(name.split(".")[0] == library for name in _imported_modules(path))


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_a_room_imports_only_the_hall_the_state_and_rooms_to_its_left(path: Path) -> None:
    room = _name(path).split("/")[0]
    imported = _rooms_imported(path) - HALL - {"__version__"}
    if room in ROOMS:
        allowed = set(ROOMS[: ROOMS.index(room) + 1]) | {"state"}
    elif room == "commands" or room in {"cli.py", "__main__.py"}:
        return
    elif room == "state":
        allowed = {"state"}
    else:
        allowed = set()
    assert imported <= allowed, f"{_name(path)} opens the doors {sorted(imported - allowed)}"


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_ray_faiss_sql_and_torch_stay_in_their_places(path: Path) -> None:
    name = _name(path)
    is_command = name.startswith("commands/")
    assert not _imports(path, "ray") or is_command or name in MAY_IMPORT_RAY
    assert not _imports(path, "faiss") or name.startswith(MAY_IMPORT_FAISS)
    assert not _imports(path, "sqlalchemy") or name.startswith(MAY_IMPORT_SQL)
    assert not _imports(path, "torch") or is_command or name.startswith(MAY_IMPORT_TORCH)


def test_the_lists_of_exceptions_name_only_files_that_exist() -> None:
    assert {name for name in MAY_IMPORT_RAY if not (PACKAGE / name).is_file()} == set()


def _modules() -> list[str]:
    return [module.name for module in pkgutil.walk_packages([str(PACKAGE)], prefix="raysys.")]


def _may_import_ray(module: str) -> bool:
    return module.removeprefix("raysys.").replace(".", "/") + ".py" in MAY_IMPORT_RAY


_PROGRAM = """
import gc, importlib, json, os, socket, subprocess, sys, threading
gc.disable()
modules, free_of_ray = json.loads(sys.argv[1])
found = {"broken": [], "starting": [], "with_torch": [], "needing_ray": []}

def refuse(*_, **__):
    raise AssertionError("an import started something")

subprocess.Popen.__init__ = refuse
socket.socket.connect = refuse
gateway = ["raysys.api.build", "raysys.serving.deployments"]
for name in dict.fromkeys([*gateway, *modules]):
    try:
        importlib.import_module(name)
    except AssertionError:
        found["starting"].append(name)
    except Exception as error:
        found["broken"].append(f"{name}: {error!r}")
    if name in gateway and "torch" in sys.modules:
        found["with_torch"].append(name)
    if threading.active_count() > 1:
        found["starting"].append(name)
import ray
if ray.is_initialized():
    found["starting"].append("ray")

# Once more, without Ray; what the modules need beside it is loaded already.
for name in [name for name in sys.modules if name.split(".")[0] in ("ray", "raysys")]:
    del sys.modules[name]
sys.modules["ray"] = None
for name in free_of_ray:
    try:
        importlib.import_module(name)
    except ImportError:
        found["needing_ray"].append(name)
print(json.dumps(found), flush=True)
os._exit(0)  # to take all of that down again would take a second
"""


@pytest.fixture(scope="module")
def imported() -> dict[str, list[str]]:
    """What a process of its own found, in which every module was imported.

    One process for all of these rules: what takes long is loading ray and torch.
    """
    doors = ("raysys.commands", "raysys.cli", "raysys.__main__")
    free = [name for name in _modules() if not _may_import_ray(name) and not name.startswith(doors)]
    given = json.dumps([_modules(), free])
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, given], check=True, timeout=300, stdout=subprocess.PIPE
    )
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def test_every_module_can_be_imported(imported: dict[str, list[str]]) -> None:
    assert imported["broken"] == []


def test_importing_every_module_starts_nothing(imported: dict[str, list[str]]) -> None:
    assert imported["starting"] == []


def test_gateway_and_shard_processes_never_import_torch(imported: dict[str, list[str]]) -> None:
    assert imported["with_torch"] == []


def test_everything_but_commands_and_the_listed_files_imports_with_ray_blocked(
    imported: dict[str, list[str]],
) -> None:
    assert imported["needing_ray"] == []


def test_every_module_says_what_it_is_for() -> None:
    silent = [_name(path) for path in SOURCES if not ast.get_docstring(_tree(path))]
    assert silent == []
