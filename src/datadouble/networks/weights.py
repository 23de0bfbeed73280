"""Tensors in files: safetensors, so no pickle, and what is no tensor as JSON in the header."""

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from datadouble import files
from datadouble.errors import DataDoubleError


def save_tensors(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any] | None = None) -> None:
    """Write `tensors` and the JSON values `facts` to one safetensors file, atomically."""
    from safetensors.torch import save

    contiguous = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    files.write_bytes(path, save(contiguous, {"facts": json.dumps(facts or {})}))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and facts that `save_tensors` wrote.

    Raises
    ------
    DataDoubleError
        When the file is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise DataDoubleError("the file is missing", where=path.name, remedy="finish `datadouble fit` first")
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {}).get("facts", "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118 (no mapping)
    except SafetensorError as error:
        raise DataDoubleError(
            "the file is damaged",
            where=path.name,
            found=str(error)[:80],
            remedy="delete it and run fit again",
        ) from error
