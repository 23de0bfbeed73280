"""Adapters on disk, apart from their base: list, load, merge and swap them.

`RUN/<stage>/adapters/<name>/` holds `adapter.safetensors`, the low-rank factors by layer, and `adapter.json`: what they
are and the fingerprint of the base's weights, which no other base passes. Kind ``"full"`` is the ablation: the
weights of a network that was fine-tuned as a whole.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from datadouble import files
from datadouble.errors import DataDoubleError, suggest
from datadouble.networks.lora import LowRank, adapter_weights, add_lora, swap_adapter
from datadouble.networks.weights import load_tensors, save_tensors

ADAPTERS = "adapters"
_WEIGHTS, _FACTS = "adapter.safetensors", "adapter.json"


@dataclass(frozen=True)
class AdapterFacts:
    """What `adapter.json` says.

    Attributes
    ----------
    name
        Of the class that it draws, or of what else it adapts to.
    stage
        The stage whose base it changes.
    base
        Fingerprint of the base's weights.
    kind
        ``"lora"`` or ``"full"``.
    rank, scaling, targets
        As `datadouble.networks.lora.add_lora` takes them; rank 0 where the kind is ``"full"``.
    parameters
        How many were trained.
    notes
        What it was trained on, in numbers.
    """

    name: str
    stage: str
    base: str
    kind: str
    rank: int
    scaling: float
    targets: tuple[str, ...]
    parameters: int
    notes: dict[str, Any]


def adapter_folder(stage: Path, name: str) -> Path:
    """Return where the adapter `name` of a stage's folder lies: names that are no folder's get one of their own."""
    safe = "".join(c if c.isalnum() and c.isascii() else "-" for c in name).strip("-") or "adapter"
    if safe != name:  # or "4 a" and "4/a", and any two names in Chinese, would share one
        safe += f"-{files.fingerprint(name)[:8]}"
    return stage / ADAPTERS / safe


def is_saved(folder: Path) -> bool:
    """Whether a folder holds a whole adapter: its facts are written last."""
    return (folder / _FACTS).is_file()


def save_adapter(
    folder: Path, facts: AdapterFacts, network: nn.Module, weights: Mapping[str, Tensor] | None = None
) -> None:
    """Write an adapter: the factors in `network`, or all of its weights where `facts.kind` is ``"full"``.

    Parameters
    ----------
    weights
        Those of `network`, such as its average; its own if not given.
    """
    state = dict(network.state_dict() if weights is None else weights)
    tensors = adapter_weights(network, state) if facts.kind == "lora" else state
    folder.mkdir(parents=True, exist_ok=True)
    save_tensors(folder / _WEIGHTS, tensors)
    files.write_json(folder / _FACTS, asdict(facts))


def read_facts(folder: Path) -> AdapterFacts:
    """Return what an adapter is.

    Raises
    ------
    DataDoubleError
        When the folder holds none.
    """
    try:
        values = json.loads((folder / _FACTS).read_text())
        return AdapterFacts(**values | {"targets": tuple(values["targets"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataDoubleError(
            "the folder holds no adapter",
            where=folder.name,
            remedy=f"it needs {_WEIGHTS} and {_FACTS} as `datadouble fit` writes them",
        ) from error


def load_adapter(network: nn.Module, folder: Path, base: str) -> AdapterFacts:
    """Put an adapter on its base, in place; on a network with an adapter of the same shape, swap it.

    Parameters
    ----------
    network
        The base, its weights loaded.
    base
        Fingerprint of these weights.

    Raises
    ------
    DataDoubleError
        When the adapter is another base's, or its layers do not exist.
    """
    facts = read_facts(folder)
    check_base(facts, base)
    tensors, _ = load_tensors(folder / _WEIGHTS)
    if facts.kind == "full":
        network.load_state_dict(tensors)
        return facts
    if not any(isinstance(module, LowRank) for module in network.modules()):
        add_lora(
            network, facts.rank, targets=facts.targets, scaling=facts.scaling, generator=torch.Generator()
        )
    swap_adapter(network, tensors)
    for module in network.modules():
        if isinstance(module, LowRank):
            module.scaling = facts.scaling
    return facts


def check_base(facts: AdapterFacts, base: str) -> None:
    """Refuse an adapter of another base.

    Raises
    ------
    DataDoubleError
    """
    if facts.base != base:
        raise DataDoubleError(
            "the adapter belongs to another base model",
            where=f"adapter '{facts.name}' of stage {facts.stage}",
            found=f"base {facts.base}, here {base}",
            remedy="take it from a run with this base, or train one here with `datadouble fit`",
        )


def list_adapters(run: Path) -> list[tuple[Path, AdapterFacts]]:
    """Return the adapters of all stages of a run with their folders, by stage and name."""
    folders = sorted(path.parent for path in run.glob(f"*/{ADAPTERS}/*/{_FACTS}"))
    return [(folder, read_facts(folder)) for folder in folders]


def find_adapter(run: Path, name: str) -> tuple[Path, AdapterFacts]:
    """Return the adapter `name`, or ``"<stage>/<name>"`` where several stages have one.

    Raises
    ------
    DataDoubleError
        When there is none, or more than one.
    """
    found = list_adapters(run)
    same = [one for one in found if name in (one[1].name, f"{one[1].stage}/{one[1].name}", one[0].name)]
    if len(same) == 1:
        return same[0]
    known = [f"{facts.stage}/{facts.name}" for _, facts in found]
    raise DataDoubleError(
        "there is no such adapter" if not same else "several stages have an adapter of this name",
        where=run.name,
        found=name,
        remedy=suggest(name, known) if known else "the run has none yet: run `datadouble fit`",
    )


def replace_adapter(target: Path, source: Path, base: str) -> AdapterFacts:
    """Put the adapter in `source` in the place of that in `target`, and keep the first one under `adapters-before`.

    Raises
    ------
    DataDoubleError
        When it is another base's or stage's.
    """
    new, old = read_facts(source), read_facts(target)
    check_base(new, base)
    if new.stage != old.stage:
        raise DataDoubleError(
            "the adapter is of another stage", where=source.name, found=f"{new.stage}, not {old.stage}"
        )
    load_tensors(source / _WEIGHTS)  # damaged files are refused before anything is moved
    kept = target.parent.parent / "adapters-before" / target.name
    if not kept.exists():
        copy = kept.with_name(f".{kept.name}.part")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(target, copy)
        copy.rename(kept)
    # Cut off half-way the folder holds no adapter, never one's weights with another's scaling.
    (target / _FACTS).unlink()
    files.write_bytes(target / _WEIGHTS, (source / _WEIGHTS).read_bytes())
    files.write_json(target / _FACTS, asdict(new) | {"name": old.name})
    return new
