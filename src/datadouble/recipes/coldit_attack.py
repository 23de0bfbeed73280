"""CoLDiT's weights as an attacker sees them: the denoiser behind one interface, and the run's pictures as latents."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from datadouble import files
from datadouble.cohort import Cohort
from datadouble.diffusion.objectives import Objective, make_objective
from datadouble.diffusion.schedules import NoiseSchedule
from datadouble.encoders import seen_images
from datadouble.errors import DataDoubleError
from datadouble.progress import track
from datadouble.randomness import torch_generator_for
from datadouble.recipes.attack import AttackMaterial, People, Pictures, choose_people
from datadouble.recipes.coldit_generator import ColditModel, load_encoder_of, load_network
from datadouble.recipes.config import build, read_config
from datadouble.recipes.runs import choose_material
from datadouble.training.latents import encode_cohort
from datadouble.training.processes import start_processes


class ColditDenoiser:
    """A CoLDiT network as a denoiser over times from 0 (clean) to 1 (noise), whatever it was trained to predict.

    Parameters
    ----------
    precision
        ``"bf16"`` (autocast, as in training) or ``"fp32"``.

    Attributes
    ----------
    fingerprint, device, has_unconditional
        Of weights and precision; where the network is; whether it learned to do without a class.
    """

    def __init__(
        self,
        model: ColditModel,
        network: nn.Module,
        device: torch.device,
        *,
        fingerprint: str = "",
        precision: str = "bf16",
    ) -> None:
        self.network, self.device, self._model = network.to(device).eval(), device, model
        self._half = precision == "bf16"
        self.fingerprint = files.fingerprint(fingerprint, precision)
        self.has_unconditional = model.network.class_dropout > 0
        self.objective = objective_of(model)

    def _place(self, time: float) -> float:
        """The path's own time: a whole timestep of a noise schedule, or the share of noise itself."""
        path = self.objective.path
        if isinstance(path, NoiseSchedule):
            return float(min(int(time * path.num_timesteps), path.num_timesteps - 1))
        return time

    def alpha_sigma(self, time: float) -> tuple[float, float]:
        """Share of the picture and of the noise."""
        return self.objective.path.alpha_sigma(self._place(time))

    def loss_weight(self, time: float) -> float:
        """1 where the noise is predicted; for the velocity v = n - x_0, (v' - v)^2 = (n' - n)^2 / (1 - t)^2."""
        return 1.0 if self.objective.path.prediction == "epsilon" else 1.0 / self.alpha_sigma(time)[0] ** 2

    @torch.no_grad()
    def predict_noise(self, noisy: Tensor, time: float, labels: Tensor | None) -> Tensor:
        """Noise (b, c, h, w), float32, in `noisy`; without labels the null class is asked."""
        return self._noise_in(noisy, time, labels)

    def _noise_in(self, noisy: Tensor, time: float, labels: Tensor | None) -> Tensor:
        path, place = self.objective.path, self._place(time)
        timesteps = torch.full((len(noisy),), path.network_timestep(place), device=self.device)
        if labels is None:
            labels = torch.full((len(noisy),), self._model.network.null_label, device=self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._half):
            output = self.network(noisy, timesteps, labels)
        predicted = output.float()[:, : noisy.shape[1]]
        if path.prediction == "epsilon":
            return predicted
        return noisy + path.alpha_sigma(place)[0] * predicted  # x_t = x_0 + t v and n = x_0 + v

    @torch.enable_grad()
    def gradient_norms(self, noisy: Tensor, time: float, labels: Tensor, noise: Tensor) -> Tensor:
        """Norm (b,) of the gradient of each picture's squared error in all weights, one picture after another."""
        norms, weight = [], self.loss_weight(time)
        self.network.requires_grad_(True)
        parameters = list(self.network.parameters())
        for i in range(len(noisy)):
            seen = self._noise_in(noisy[i : i + 1], time, labels[i : i + 1])
            loss = weight * (seen - noise[i % len(noise)]).pow(2).mean()
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
            squares = [g.float().pow(2).sum() for g in gradients if g is not None]
            norms.append(torch.stack(squares).sum().sqrt())
        self.network.requires_grad_(False)
        return torch.stack(norms)

    @torch.enable_grad()
    def overfitted(
        self,
        latents: np.ndarray,
        labels: np.ndarray,
        *,
        images: int,
        seed: int,
        batch: int = 8,
        learning_rate: float = 5e-4,
    ) -> ColditDenoiser:
        """Return a copy trained on these latents (n, c, h, w) alone until it has seen `images` of them."""
        import copy

        network = copy.deepcopy(self.network).train().requires_grad_(True)
        optimiser = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=0.0, fused=True)
        clean = torch.from_numpy(np.asarray(latents, dtype=np.float32)).to(self.device)
        classes = torch.from_numpy(np.asarray(labels, dtype=np.int64)).to(self.device)
        batch = min(batch, len(clean))
        random = torch_generator_for(seed, "overfit")
        for _ in track(range(max(1, images // batch)), "overfitting a copy"):
            rows = torch.randperm(len(clean), generator=random)[:batch]
            times = (torch.randperm(batch, generator=random) + torch.rand(batch, generator=random)) / batch
            noise = torch.randn(batch, *clean.shape[1:], generator=random)
            rows, times, noise = rows.to(self.device), times.to(self.device), noise.to(self.device)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self._half):
                loss = self.objective.loss(network, clean[rows], classes[rows], times, noise).total.mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
        weights = b"".join(p.detach().float().cpu().numpy().tobytes() for p in network.parameters())
        return ColditDenoiser(
            self._model,
            network.requires_grad_(False),
            self.device,
            fingerprint=files.fingerprint(weights),
            precision="bf16" if self._half else "fp32",
        )


def objective_of(model: ColditModel) -> Objective:
    """Return the objective that a model was trained with."""
    diffusion = model.diffusion
    return make_objective(
        diffusion["objective"],
        schedule=diffusion["schedule"],
        num_timesteps=diffusion["timesteps"],
        min_snr_gamma=diffusion["min_snr_gamma"] or None,
    )


def attack_material(
    run: Path,
    real: Cohort,
    *,
    cache: Path,
    seed: int,
    checkpoint: str,
    member_patients: int,
    say: Callable[[str], None],
) -> AttackMaterial:
    """Load a run's weights and bring its pictures to latents; see `datadouble.recipes.attack.attack_run`.

    The validation patients, which are carved from the train split anew as `fit` did, chose the checkpoint: they are
    neither members nor others.
    """
    from datadouble.recipes.coldit import ColditConfig

    values = read_config(run / "config.toml")
    values.pop("recipe", None)
    config = build(ColditConfig, values)
    model = ColditModel.load(run / "model")
    network, fingerprint = load_network(model, run / "model" / f"{checkpoint}.safetensors")
    split = choose_material(real, model.classes, config.data.validation_share, config.training.seed)
    provenance = json.loads((run / "provenance.json").read_text())
    found = files.fingerprint("\n".join(sorted(split.train.table["image_id"])))
    if found != provenance["train_fingerprint"]:
        raise DataDoubleError(
            "the run learned from other pictures than this cohort's train split",
            where=run.name,
            found=f"{provenance['train_images']} then, {len(split.train)} now",
            remedy="give the cohort that it was fitted on, with its splits as they were",
        )
    people = choose_people(real, split, member_patients, seed)
    device, precision = start_processes().device, config.training.precision
    encoder = load_encoder_of(run, model).to(device)

    def encoded(chosen: People, name: str) -> Pictures:
        moments = encode_cohort(chosen.cohort, encoder, model.size, cache / name, flips=False).moments
        means = torch.from_numpy(np.asarray(moments[:, 0, : model.network.in_channels], dtype=np.float32))
        labels = split.label_indices(chosen.cohort)
        return Pictures(model.scale.normalise(means).numpy(), labels, chosen.members, chosen.patients)

    posing = None
    if len(split.validation):
        posing = encoded(choose_people(real, split, 0, seed, posing=True), "latents-posing.npy")
    early = run / "model" / "early.safetensors"
    reference = None
    if early.is_file():
        weak, weak_fingerprint = load_network(model, early)
        if weak_fingerprint != fingerprint:
            reference = ColditDenoiser(model, weak, device, fingerprint=weak_fingerprint, precision=precision)
    denoiser = ColditDenoiser(model, network, device, fingerprint=fingerprint, precision=precision)
    members = people.cohort.table["image_id"][people.members]
    return AttackMaterial(
        model=denoiser,
        reference=reference,
        pictures=encoded(people, "latents.npy"),
        posing=posing,
        classes=model.classes,
        overfit=denoiser.overfitted,
        facts={
            "recipe": "coldit",
            "checkpoint": checkpoint,
            "weights": fingerprint,
            "validation_patients_left_out": int(split.validation.table["patient_id"].nunique()),
            "members_the_encoder_learned_from": len(seen_images(real) & set(members)),
            "reference": "" if reference is None else "the run's early checkpoint",
        },
    )
