"""Saving and loading all that an exact resume needs, without pickle.

One safetensors file holds the tensors under slash-separated names; what is no tensor travels as JSON in its header.
One file, renamed into place, can never be half a checkpoint.
"""

import torch
from torch import Tensor


def pack_optimiser(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimiser's state as named tensors; its hyperparameters come from the configuration."""
    state = optimiser.state_dict()["state"]
    return {
        f"{index}/{key}": value if isinstance(value, Tensor) else torch.tensor(value)
        for index, values in state.items()
        for key, value in values.items()
    }


def unpack_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `pack_optimiser` returned."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, key = name.split("/", 1)
        state.setdefault(int(index), {})[key] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def with_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return `tensors` with ``prefix/`` before every name."""
    return {f"{prefix}/{name}": value for name, value in tensors.items()}


def below_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under ``prefix/``, without it."""
    start = f"{prefix}/"
    return {name[len(start) :]: value for name, value in tensors.items() if name.startswith(start)}
