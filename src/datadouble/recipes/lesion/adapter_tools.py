"""The adapters of a run: listed, merged into their base, or swapped for others of the same base."""

from pathlib import Path

from torch import nn

from datadouble.errors import DataDoubleError
from datadouble.networks.lora import merge_lora
from datadouble.networks.patch_denoiser import PatchDenoiser
from datadouble.networks.weights import save_tensors
from datadouble.recipes.drawing import load_weights
from datadouble.recipes.lesion.adapters import (
    AdapterFacts,
    find_adapter,
    list_adapters,
    load_adapter,
    replace_adapter,
)
from datadouble.recipes.lesion.lesion_drawer import LesionModel
from datadouble.recipes.lesion.repairer import load_repair_network
from datadouble.recipes.runs import read_recipe


def table(run: Path) -> list[str]:
    """Return a line for each adapter: stage/name, kind, size, and the base that it belongs to.

    Raises
    ------
    DataDoubleError
        When the run is of another recipe.
    """
    _check_recipe(run)
    lines = [_line(facts) for _, facts in list_adapters(run)]
    return lines or ["the run has no adapters"]


def _line(facts: AdapterFacts) -> str:
    kind = f"rank {facts.rank} at {', '.join(facts.targets) or 'all layers'}"
    if facts.kind == "full":
        kind = "all weights, fine-tuned"
    return f"{facts.stage}/{facts.name}: {kind}; {facts.parameters:,} parameters; base {facts.base}"


def merge(run: Path, name: str, out: Path) -> AdapterFacts:
    """Write the weights of a base with an adapter folded in to `out`: a network of the base's shape, safetensors.

    Raises
    ------
    DataDoubleError
        When there is no such adapter, it is another base's, or `out` exists.
    """
    _check_recipe(run)
    if out.exists():
        raise DataDoubleError("the file exists", where=out.name, remedy="choose another name")
    folder, facts = find_adapter(run, name)
    if facts.stage == "repair":
        network, _ = load_repair_network(run / "repair", folder.name)
    else:
        network, base = base_of(run, facts.stage)
        load_adapter(network, folder, base)
    merge_lora(network)
    out.parent.mkdir(parents=True, exist_ok=True)
    weights = dict(network.state_dict())
    save_tensors(out, weights, {"stage": facts.stage, "adapter": facts.name, "base": facts.base})
    return facts


def swap(run: Path, name: str, source: Path) -> AdapterFacts:
    """Put the adapter in the folder `source` in the place of the run's adapter `name`.

    What the run had first is kept under ``<stage>/adapters-before``.

    Raises
    ------
    DataDoubleError
        When the adapter is of another base or stage.
    """
    _check_recipe(run)
    target, facts = find_adapter(run, name)
    return replace_adapter(target, source, base_of(run, facts.stage)[1])


def base_of(run: Path, stage: str) -> tuple[nn.Module, str]:
    """Return the base network of a stage, its weights loaded, and their fingerprint."""
    if stage == "repair":
        return load_repair_network(run / "repair", "")
    folder = run / "lesion" / "model"
    if not (folder / "model.json").is_file():
        raise DataDoubleError(
            "this stage's base is a Stable Diffusion, which the run does not hold",
            where=f"{run.name}/{stage}",
            remedy="load it with diffusers, and the adapter with datadouble.recipes.lesion.adapters.load_adapter",
        )
    return load_weights(PatchDenoiser(LesionModel.load(folder).network), folder / "best.safetensors")


def _check_recipe(run: Path) -> None:
    recipe = read_recipe(run)
    if recipe != "lesion":
        raise DataDoubleError(
            "only runs of recipe lesion have adapters", where=run.name, found=f"a run of {recipe}"
        )
