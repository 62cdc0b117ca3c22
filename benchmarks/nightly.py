"""Learning overnight, in this process and without Ray: import what is new, update."""

import contextlib
import io
from pathlib import Path

import torch
from update import Trained

from raysys.commands.building import WriteModel, build_release
from raysys.commands.console import Console
from raysys.commands.going_on import learning_what_is_new, open_update
from raysys.commands.material import Material
from raysys.config import PipelineConfig
from raysys.logs.call import run_here
from raysys.logs.event_intake import import_events
from raysys.logs.importing import import_log
from raysys.logs.simulator.simulator import Simulator
from raysys.release import Release
from raysys.state.store import StateStore


class Nights:
    """The dataset of a world, and the newest release that was made of it.

    Args:
        epochs: of every update.
    """

    def __init__(
        self, simulator: Simulator, directory: Path, config: PipelineConfig, *, epochs: int
    ) -> None:
        torch.set_num_threads(1)
        self._directory, self._config, self._epochs = directory, config, epochs
        self._dataset = directory / "dataset"
        files = simulator.write(directory / "log")
        import_log([files.interactions], self._dataset, items=files.items, run=run_here)
        material = Material.of(self._dataset, config)
        self.release = self._released(material, Trained().here(config))

    def learnt(self, store: StateStore) -> Release:
        """Return a release that has learnt what was stored since the last night."""
        import_events(store, self._dataset, run=run_here)
        update = open_update(self.release, self._dataset)
        learning = learning_what_is_new(update, Trained().here, epochs=self._epochs)
        self.release = self._released(update.material, learning)
        return self.release

    def _released(self, material: Material, write_model: WriteModel) -> Release:
        with contextlib.redirect_stderr(io.StringIO()):  # a line for each of many epochs
            release, _ = build_release(
                material,
                self._directory / "releases",
                self._config,
                recipe="custom",
                write_model=write_model,
                console=Console(as_json=True),
            )
        return release
