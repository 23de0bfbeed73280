"""What all stages of a run share, from the training images."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from datadouble import files
from datadouble.errors import DataDoubleError

FACTS = "facts.json"  # in the run


@dataclass(frozen=True)
class RunFacts:
    """What all stages share, from the training images: `facts.json` of a run."""

    name: str
    modality: str
    intensity: dict[str, Any]
    cohort_classes: tuple[str, ...]
    classes: tuple[str, ...]
    shares: tuple[float, ...]
    healthy: str
    mask_classes: tuple[str, ...]
    mask_ids: tuple[int, ...]

    def save(self, run: Path) -> None:
        """Write `facts.json`."""
        files.write_json(run / FACTS, asdict(self))

    @classmethod
    def load(cls, run: Path) -> "RunFacts":
        """Read `facts.json`.

        Raises
        ------
        DataDoubleError
            When it is not there.
        """
        if not (run / FACTS).is_file():
            raise DataDoubleError(
                "the run holds no model yet", where=run.name, remedy="run `datadouble fit lesion`"
            )
        values: dict[str, Any] = json.loads((run / FACTS).read_text())
        lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
        return cls(**(values | lists))
