"""What was found in a pass over a dataset, and is kept beside a model as JSON."""

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict

from raysys import storage


class KeptAsJson(BaseModel):
    """The base of such findings: they never change."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def save(self, path: Path) -> None:
        """Write a JSON file that `open` reads."""
        storage.write_json(path, self.model_dump(mode="json"))

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        return cls.model_validate(storage.read_json(path))
