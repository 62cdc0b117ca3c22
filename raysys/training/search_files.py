"""What a search leaves in its directory; together it is all that the search knows, so that it can
be stopped at any time and go on.

SEARCH/
    search.json            what is searched: settings and data. Another search is refused here
    items.arrow, users.arrow   the vocabularies
    features/              what is known of items and users, where the model reads it
    trials/0001/
        trial.json         hyperparameters; how it ended, once it has
        results.json       every epoch so far
        verdicts.json      by epoch: whether the search ends it there, since others got further
        model-0003/        the model after its best epoch so far
        run/               where it can go on; removed once it has ended
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from raysys import storage
from raysys.errors import ConfigError, SourceError
from raysys.models.base import EmbeddingModel
from raysys.models.weights import save_model
from raysys.training.checkpoint import EpochResult
from raysys.training.space import Value
from raysys.training.stopping import Patience

Status = Literal["open", "finished", "stopped", "failed"]
"""stopped: by the search, since others had got further; open: not ended, it may go on."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial as its files tell of it. Number 1 is the one with the defaults."""

    number: int
    hyperparameters: dict[str, Value]
    status: Status
    values: list[float]
    """The metric after each epoch so far."""
    reason: str = ""
    """Why it failed."""

    @property
    def best_epoch(self) -> int:
        """The first epoch that no other is better than, from 1; 0 before the first has ended."""
        return Patience(1, self.values).best_epoch + 1

    @property
    def best(self) -> float:
        """The value of that epoch; -inf before the first has ended."""
        return Patience(1, self.values).best

    def to_json(self) -> dict[str, Any]:
        """Return a row of the search's table."""
        return {
            "number": self.number,
            "hyperparameters": self.hyperparameters,
            "status": self.status,
            "epochs": len(self.values),
            "best_epoch": self.best_epoch or None,
            "best": self.best if self.values else None,
            "reason": self.reason or None,
        }


@dataclass(frozen=True, slots=True)
class TrialFiles:
    """The directory of one trial."""

    directory: Path
    metric: str

    @property
    def run(self) -> Path:
        return self.directory / "run"

    def begin(self, hyperparameters: dict[str, Value]) -> None:
        """Make the directory."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._write(hyperparameters, "open", "")

    def end(self, status: Status, reason: str = "") -> None:
        """Say how the trial ended."""
        self._write(self.read().hyperparameters, status, reason)

    def keep(
        self, model: EmbeddingModel, results: list[EpochResult], *, num_users: int, vocabulary: str
    ) -> None:
        """Take down an epoch, and the model too if the epoch was the best so far.

        At any moment the model of the best epoch that `read` tells of is there, whole. Epochs that
        are learnt again, since the trial was cut off, change nothing.
        """
        if len(results) <= len(self.read().values):
            return
        best = Patience(1, [result.metrics[self.metric] for result in results]).best_epoch + 1
        place = self._model(best)
        if best == len(results) and not place.exists():
            staging = storage.staging_directory(place)
            save_model(model, staging, num_users=num_users, vocabulary=vocabulary)
            storage.publish_directory(staging, place)
        storage.write_json(self._results, [asdict(result) for result in results])
        for other in self.directory.glob("model-*"):
            if other != place:
                storage.remove_tree(other)

    def judge(self, epoch: int, *, is_over: bool) -> None:
        """Say whether the trial is to end with this epoch."""
        storage.write_json(self._verdicts, self.verdicts() | {str(epoch): is_over})

    def verdicts(self) -> dict[str, bool]:
        """Return what was said of each epoch that was judged."""
        return storage.read_json(self._verdicts) if self._verdicts.exists() else {}

    def read(self) -> Trial:
        """Return the trial as it stands."""
        written = storage.read_json(self._trial)
        results = storage.read_json(self._results) if self._results.exists() else []
        values = [result["metrics"][self.metric] for result in results]
        return Trial(int(self.directory.name), values=values, **written)

    def best_model(self) -> Path:
        """Return the directory of the best epoch's model, fit for `load_model`."""
        return self._model(self.read().best_epoch)

    def _model(self, epoch: int) -> Path:
        return self.directory / f"model-{epoch:04d}"

    @property
    def _trial(self) -> Path:
        return self.directory / "trial.json"

    @property
    def _results(self) -> Path:
        return self.directory / "results.json"

    @property
    def _verdicts(self) -> Path:
        return self.directory / "verdicts.json"

    def _write(self, hyperparameters: dict[str, Value], status: Status, reason: str) -> None:
        value = {"hyperparameters": hyperparameters, "status": status, "reason": reason}
        storage.write_json(self._trial, value)


@dataclass(frozen=True, slots=True)
class SearchFiles:
    """The directory of one search; on several nodes it must mean the same on all of them."""

    directory: Path

    @property
    def items(self) -> Path:
        return self.directory / "items.arrow"

    @property
    def users(self) -> Path:
        return self.directory / "users.arrow"

    @property
    def features(self) -> Path:
        """What is known of items and users, where the model reads it."""
        return self.directory / "features"

    @property
    def tune(self) -> Path:
        """Of Ray Tune, for the time of a run."""
        return self.directory / "tune"

    def claim(self, search: dict[str, Any]) -> None:
        """Make the directory this search's, or go on with the search that it holds.

        Raises:
            ConfigError: it holds another search, or something else.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        if not self._search.exists():
            if strange := sorted(path.name for path in self.directory.iterdir()):
                raise ConfigError(
                    f"A search cannot begin in {self.directory}: it holds {strange[0]!r}, which is "
                    f"no search's. Name a directory of its own with --search."
                )
            storage.write_json(self._search, search)
        found = storage.read_json(self._search)
        differing = sorted(name for name in found | search if found.get(name) != search.get(name))
        if differing:
            raise ConfigError(
                f"{self.directory} holds a search with another {' and another '.join(differing)}, "
                f"and its trials cannot be compared with this one's. Repeat its settings to go on "
                f"with it, or name another directory with --search."
            )

    def exists(self) -> bool:
        """Return whether a search has claimed the directory."""
        return self._search.is_file()

    @property
    def metric(self) -> str:
        """What trials are compared by, such as `ndcg_at_10`."""
        metric: str = self.search()["metric"]
        return metric

    def search(self) -> dict[str, Any]:
        """Return what `claim` was given; SourceError where there is no search."""
        try:
            search: dict[str, Any] = storage.read_json(self._search)
        except (OSError, ValueError) as error:
            raise SourceError(
                f"There is no search at {self.directory}: {self._search.name} cannot be read "
                f"({error}). Begin one with `raysys tune`."
            ) from error
        return search

    def trial(self, number: int) -> TrialFiles:
        """Return the files of one trial, which may not have begun."""
        return TrialFiles(self.directory / "trials" / f"{number:04d}", self.metric)

    def trials(self) -> list[Trial]:
        """Return every trial, by number."""
        found = sorted(self.directory.glob("trials/[0-9]*/trial.json"))
        metric = self.metric if found else ""
        return [TrialFiles(path.parent, metric).read() for path in found]

    @property
    def _search(self) -> Path:
        return self.directory / "search.json"


def best_of(trials: list[Trial]) -> Trial | None:
    """Return the trial with the best epoch, the first one of equals; None before any has ended."""
    with_values = [trial for trial in trials if trial.values]
    return max(with_values, key=lambda trial: trial.best, default=None)
