"""Stage 1: a lesion with its mask, by class.

A transformer over folded pixels draws the grey picture and the mask of a lesion-centred crop together. Its base learns
from crops of all classes and of tissue without a lesion; each class then gets a low-rank adapter of its own, or, with
``lora_rank = 0``, a network fine-tuned as a whole.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from datadouble import files
from datadouble.cohort.sheets import outlined, picture_sheet
from datadouble.diffusion.objectives import denoising_loss_by_timestep
from datadouble.errors import DataDoubleError
from datadouble.networks.lora import add_lora
from datadouble.networks.patch_denoiser import PatchDenoiser, PatchDenoiserConfig
from datadouble.networks.weights import load_tensors
from datadouble.randomness import generator_for, seed_for, torch_generator_for
from datadouble.recipes.drawing import load_weights
from datadouble.recipes.learning import VALIDATION_IMAGES, VALIDATION_TIMES, stratified_times
from datadouble.recipes.lesion.adapters import (
    AdapterFacts,
    adapter_folder,
    is_saved,
    read_facts,
    save_adapter,
)
from datadouble.recipes.lesion.crops import LesionPatch
from datadouble.recipes.lesion.descriptors import CONDITIONS, DescriptorBank
from datadouble.recipes.lesion.lesion_crops import LesionCrops
from datadouble.recipes.lesion.lesion_drawer import (
    BANK,
    LesionDrawer,
    LesionModel,
    SamplingOptions,
    is_usable,
    patch_objective,
)
from datadouble.recipes.lesion.material import DataOptions, LesionMaterial
from datadouble.training.loop import Trainer, TrainingOptions
from datadouble.training.pixels import balanced_rows
from datadouble.training.processes import Processes, start_processes

__all__ = ["LesionDrawer", "LesionOptions", "SamplingOptions", "fit_lesion", "is_usable"]

_COLUMNS = 8


@dataclass(frozen=True)
class LesionOptions(TrainingOptions):
    """Section ``[lesion]``: the base's network and training, and the adapters' after it."""

    depth: int = 6
    width: int = 192
    heads: int = 6
    token: int = 4  # side of the square of pixels that is one of the transformer's tokens; even
    detail: int = 32  # channels of the convolutions round it, at full size
    objective: str = "clean"  # or mse, flow
    schedule: str = "cosine"  # of clean and mse
    timesteps: int = 1000
    gamma: float = 5.0  # greatest weight of clean's error; of the others' min-SNR, 0 for none
    detail_std: float = 0.0  # of clean: what texture the network leaves to a skip; 0: no skip
    class_dropout: float = 0.1  # share of crops of which neither class nor descriptor is told
    shift: float = 0.08  # greatest shift of a crop's centre, in sides of the crop
    scale: float = 0.12  # greatest change of a crop's side, as a logarithm
    flip: bool = True  # left to right, half of the crops; never up and down
    lora_rank: int = 8  # 0: each class gets all weights fine-tuned (ablation)
    lora_alpha: float = 8.0  # the adapter's product counts alpha / rank
    lora_targets: tuple[str, ...] = ("qkv", "attention_out", "mlp_in", "mlp_out", "modulation")
    tune_images: int = 10_000  # crops of a class that its adapter sees; 0: no adapters, the base draws
    tune_learning_rate: float = 1e-3


def network_config(options: LesionOptions, patch: int, classes: int) -> PatchDenoiserConfig:
    """Return the network's shape: grey and mask in, the classes and tissue as labels, the descriptor beside."""
    return PatchDenoiserConfig(
        size=patch,
        num_classes=classes + 1,
        conditions=len(CONDITIONS),
        token=options.token,
        depth=options.depth,
        width=options.width,
        heads=options.heads,
        detail=options.detail,
    )


def fit_lesion(
    options: LesionOptions,
    sampling: SamplingOptions,
    data: DataOptions,
    material: LesionMaterial,
    folder: Path,
    *,
    say: Callable[[str], None],
) -> None:
    """Train stage 1 in `folder`, or go on where an earlier call was cut off.

    Raises
    ------
    DataDoubleError
        On an objective or LoRA target that does not exist (before anything is trained), or a loss that is no number.
    """
    processes = start_processes()
    crops = LesionCrops(material.train, len(material.classes), data.patch)
    model = LesionModel(
        network=network_config(options, data.patch, len(material.classes)),
        classes=material.classes,
        size=data.size,
        patch=data.patch,
        standard=crops.standard,
        diffusion={
            "objective": options.objective,
            "schedule": options.schedule,
            "timesteps": options.timesteps,
            "gamma": options.gamma,
            "detail_std": options.detail_std,
        },
        adapters=options.tune_images > 0,
    )
    _check_choices(options, model)
    names = [material.classes[label] for label in crops.labels[: len(crops.descriptors)]]
    bank = DescriptorBank.fit(crops.descriptors, names, material.classes, data.size)
    if processes.is_main:
        (folder / "model").mkdir(parents=True, exist_ok=True)
        model.save(folder / "model")
        bank.save(folder / "model" / BANK)
    processes.wait()
    network = PatchDenoiser(model.network, torch_generator_for(options.seed, "lesion weights"))
    say(
        f"stage lesion: {network.parameter_count():,} parameters, {len(crops.descriptors)} lesions and "
        f"{len(crops) - len(crops.descriptors)} pictures for tissue, crops of {data.patch} pixels, "
        f"{options.images:,} of them to see"
    )
    task = LesionTask(options, sampling, model, material, network, processes.device, bank, folder)
    Trainer(task, options, folder, processes).train()
    if options.tune_images:
        for label in range(len(material.classes)):
            _tune(options, sampling, model, material, folder, label, bank, processes, say)


def _check_choices(options: LesionOptions, model: LesionModel) -> None:
    """Refuse what would fail after the base was trained."""
    if options.objective not in ("clean", "mse", "flow"):
        raise DataDoubleError(
            "lesion.objective is clean, mse or flow", where="config", found=options.objective
        )
    if options.lora_rank and options.tune_images:
        with torch.device("meta"):  # names without numbers
            network = PatchDenoiser(replace(model.network, depth=min(model.network.depth, 1)))
            put_adapter(network, options, None)


def put_adapter(network: nn.Module, options: LesionOptions, generator: torch.Generator | None) -> None:
    """Freeze a base and put the adapter of a class into it, in place."""
    add_lora(
        network,
        options.lora_rank,
        targets=options.lora_targets,
        scaling=options.lora_alpha / options.lora_rank,
        generator=generator,
    )


def _tune(
    options: LesionOptions,
    sampling: SamplingOptions,
    model: LesionModel,
    material: LesionMaterial,
    stage: Path,
    label: int,
    bank: DescriptorBank,
    processes: Processes,
    say: Callable[[str], None],
) -> None:
    """Fine-tune the base to one class, and keep what was learned apart."""
    name = material.classes[label]
    target = adapter_folder(stage, name)
    network, base = load_weights(PatchDenoiser(model.network), stage / "model" / "best.safetensors")
    if is_saved(target) and read_facts(target).base == base:
        return
    generator = torch_generator_for(options.seed, "adapter", name)
    if options.lora_rank:
        put_adapter(network, options, generator)
    parameters = sum(p.numel() for p in network.parameters() if p.requires_grad)
    folder = stage / "tuning" / target.name
    share = options.tune_images / max(options.images, 1)
    chosen = replace(
        options,
        images=options.tune_images,
        learning_rate=options.tune_learning_rate,
        warm_up=min(options.warm_up, options.tune_images // 10),
        ema_half_life=options.ema_half_life * share,
        checkpoint_every=min(options.checkpoint_every, options.tune_images),
        validate_every=max(options.batch, min(options.validate_every, options.tune_images // 4)),
        sheet_every=options.tune_images,
    )
    task = LesionTask(chosen, sampling, model, material, network, processes.device, bank, folder, label)
    say(f"stage lesion, class {name}: {parameters:,} parameters are trained on {task.dataset_size()} lesions")
    if processes.is_main:
        folder.mkdir(parents=True, exist_ok=True)
    processes.wait()
    Trainer(task, chosen, folder, processes).train()
    if processes.is_main:
        weights, notes = load_tensors(folder / "model" / "best.safetensors")
        facts = AdapterFacts(
            name=name,
            stage="lesion",
            base=base,
            kind="lora" if options.lora_rank else "full",
            rank=options.lora_rank,
            scaling=options.lora_alpha / options.lora_rank if options.lora_rank else 1.0,
            targets=options.lora_targets if options.lora_rank else (),
            parameters=parameters,
            notes={"lesions": task.dataset_size(), **notes},
        )
        save_adapter(target, facts, network, weights)
    processes.wait()


class LesionTask:
    """What the training loop needs: crops with their masks and conditions, and sheets."""

    def __init__(
        self,
        options: LesionOptions,
        sampling: SamplingOptions,
        model: LesionModel,
        material: LesionMaterial,
        network: nn.Module,
        device: torch.device,
        bank: DescriptorBank,
        folder: Path,
        only: int | None = None,
    ) -> None:
        self.network, self.device = network, device
        self._options, self._sampling, self._model, self._bank = options, sampling, model, bank
        self._folder, self._only = folder, only
        self._objective = patch_objective(model.diffusion)
        count = len(model.classes)
        self._train = LesionCrops(material.train, count, model.patch, model.standard, only=only)
        self._held = None
        if len(material.validation.lesions):
            held = LesionCrops(material.validation, count, model.patch, model.standard, only=only)
            self._held = held if len(held) else None

    def dataset_size(self) -> int:
        """Return how many crops there are to choose from."""
        return len(self._train)

    def image_ids(self, rows: np.ndarray) -> list[str]:
        """Return the pictures of crops."""
        return [self._train.image_id(int(row)) for row in rows]

    def choose_rows(self, images_seen: int, batch: int) -> np.ndarray:
        """Return the next crops: the classes, and tissue, take turns."""
        return balanced_rows(self._train.labels, self._options.seed, images_seen, batch)

    def losses(
        self, network: nn.Module, rows: np.ndarray, images_seen: int, places: slice
    ) -> dict[str, Tensor]:
        """Return the objective's terms; all that is random comes from (seed, images seen)."""
        options, count = self._options, len(rows)
        random = torch_generator_for(options.seed, "lesion step", images_seen)
        shape = self._model.network
        noise = torch.randn(count, shape.in_channels, shape.size, shape.size, generator=random)
        times = stratified_times(count, random)
        dropped = torch.rand(count, generator=random) < options.class_dropout
        randoms = [
            generator_for(options.seed, "lesion crop", images_seen, place)
            for place in range(places.start, places.stop)
        ]
        clean, told = self._train.batch(
            rows[places], randoms, shift=options.shift, scale=options.scale, flip=options.flip
        )
        labels = torch.from_numpy(self._train.labels[rows[places]])
        labels = torch.where(dropped[places], shape.null_label, labels)
        clean, told, labels, times, noise = (
            value.to(self.device) for value in (clean, told, labels, times[places], noise[places])
        )

        def predict(x: Tensor, timesteps: Tensor, of: Tensor) -> Tensor:
            return network(x, timesteps, of, told)

        terms = self._objective.loss(predict, clean, labels, times, noise)
        return {"loss": terms.total, **{name: value.detach() for name, value in terms.by_name.items()}}

    def validate(self, network: nn.Module) -> dict[str, Any]:
        """Return the denoising loss on training crops and on held-out patients, the noise fixed."""
        training = self._loss(network, self._train)
        figures = {"training_loss": training, "validation_loss": training}
        if self._held is not None:
            figures["validation_loss"] = self._loss(network, self._held)
        return figures

    def _loss(self, network: nn.Module, crops: LesionCrops) -> float:
        items = np.linspace(0, len(crops) - 1, min(VALIDATION_IMAGES, len(crops))).astype(int)
        clean, told = (value.to(self.device) for value in crops.batch(items))
        labels = torch.from_numpy(crops.labels[items]).to(self.device)
        random = torch_generator_for(self._options.seed, "lesion validation")
        noise = torch.randn(clean.shape, generator=random).to(self.device)

        def predict(x: Tensor, timesteps: Tensor, of: Tensor) -> Tensor:
            return network(x, timesteps, of, told)

        losses = denoising_loss_by_timestep(self._objective, predict, clean, labels, noise, VALIDATION_TIMES)
        return round(float(losses.float().mean()), 6)

    def draw_sheets(self, network: nn.Module, images_seen: int) -> None:
        """Write a sheet: of each class patches as drawn, with their outlines, above training crops."""
        model = self._model
        drawer = LesionDrawer(model, [network] * len(model.classes), self._bank, self._sampling, self.device)
        rows: list[tuple[str, list[np.ndarray]]] = []
        for label, name in enumerate(model.classes):
            if self._only not in (None, label):
                continue
            random = generator_for(0, "lesion sheet", name)
            descriptors = [self._bank.sample(name, random) for _ in range(_COLUMNS)]
            seeds = [seed_for(0, "lesion sheet", name, i) for i in range(_COLUMNS)]
            drawn = drawer.draw(np.full(_COLUMNS, label), descriptors, seeds)
            items = np.flatnonzero(self._train.labels == label)
            items = items[np.linspace(0, len(items) - 1, min(_COLUMNS, len(items))).astype(int)]
            real = [self._train.crop(int(item), None)[0] for item in items]
            rows.append((f"{name}, drawn", [patch.image for patch in drawn]))
            rows.append((f"{name}, drawn, with masks", _tiles(drawn)))
            rows.append((f"{name}, real", _tiles(real)))
        (self._folder / "samples").mkdir(parents=True, exist_ok=True)
        path = self._folder / "samples" / f"{images_seen:09d}-sheet.png"
        files.save_png(path, picture_sheet(_in_colour(rows), colour=True))


def _tiles(patches: list[LesionPatch]) -> list[np.ndarray]:
    return [outlined(patch.image, patch.mask.astype(np.uint8)) for patch in patches]


def _in_colour(rows: list[tuple[str, list[np.ndarray]]]) -> list[tuple[str, list[np.ndarray]]]:
    """Return rows of which grey tiles are (h, w, 3) too."""
    return [
        (name, [np.repeat(tile[..., None], 3, axis=2) if tile.ndim == 2 else tile for tile in tiles])
        for name, tiles in rows
    ]
