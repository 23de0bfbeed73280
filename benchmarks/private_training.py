"""Private training: what it costs, whether two accountants agree, and whether canaries refute the epsilon.

    python benchmarks/private_training.py speed                # DiT-S/2, private against plain: 3 minutes on one core
    python benchmarks/private_training.py accounts             # Opacus' PRV accountant against dp-accounting
    python benchmarks/private_training.py canaries             # a lower bound of epsilon, with noise and without
    python benchmarks/private_training.py scales               # the latents' scale on simulated scans (PUBLIC_SCALES)

`speed`: a step on the same pictures, in turn with a plain one (forward, backward, clipped norm, AdamW); a private step
finds every patient's gradient, clips it, adds noise. The ratio is the median over neighbours, above 1 private is
dearer; the promise is at most 2.5. Rows with several draws count every draw as a picture on both sides.

`canaries`: half of some made-up patients, chosen by chance, train along with simulated ones (or a cohort's, --real).
The attacker sees every noised gradient and knows what a canary would add to it; the score is their product, summed over
steps. The lower bounds must lie below epsilon with noise; the control without noise must see more than with it.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from datadouble.audit.privacy.canaries import epsilon_lower_bound
from datadouble.cohort import Cohort
from datadouble.cohort.phantom.cohort import make_phantom_cohort
from datadouble.diffusion.objectives import make_objective
from datadouble.encoders import load_encoder
from datadouble.networks.dit import DiT, DiTConfig, dit_config
from datadouble.randomness import generator_for, torch_generator_for
from datadouble.training.latents import encode_cohort
from datadouble.training.loop import TrainingOptions
from datadouble.training.privacy.accounting import epsilon_by_pld, epsilon_of, noise_multiplier_for
from datadouble.training.privacy.noise import add_noise
from datadouble.training.privacy.options import PrivacyOptions, PrivacyPlan, make_plan
from datadouble.training.privacy.per_sample import (
    GhostGradients,
    OpacusGradients,
    add_clipped,
    check_per_sample_gradients,
)
from datadouble.training.privacy.released import public_scale
from datadouble.training.privacy.trainer import PrivateTrainer
from datadouble.training.processes import Processes
from script import parser_of

CLASSES = 5


def speed(options: argparse.Namespace) -> None:
    """Print a table of plain and private steps."""
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    print(
        f"DiT-S/2, {torch.cuda.get_device_name() if device.type == 'cuda' else 'CPU'}, torch {torch.__version__}\n"
    )
    print(
        "| latents | pictures | draws | dtype | engine | plain, images/s | private, images/s | plain / private |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for side, batch, draws in ((16, 16, 1), (16, 16, 4), (32, 8, 1)):
        for kind in ("fp32", "bf16"):
            for engine in (GhostGradients, OpacusGradients):
                if engine is OpacusGradients and (kind, draws) != ("fp32", 1):
                    continue
                plain, private = _steps(side, batch, draws, kind == "bf16", engine, device)
                seconds: tuple[list[float], list[float]] = ([], [])
                for i in range(options.repeats + 1):
                    for which in (0, 1) if i % 2 else (1, 0):
                        start = clock()
                        (plain, private)[which]()
                        if device.type == "cuda":
                            torch.cuda.synchronize()
                        if i:
                            seconds[which].append(clock() - start)
                ratio = statistics.median(b / a for a, b in zip(*seconds, strict=True))
                rates = [batch / statistics.median(s) for s in seconds]
                print(
                    f"| {side}x{side} | {batch} | {draws} | {kind} | {engine.name} | {rates[0]:.2f} | "
                    f"{rates[1]:.2f} | {ratio:.2f} |",
                    flush=True,
                )


def _steps(
    side: int, batch: int, draws: int, bf16: bool, engine: Any, device: torch.device
) -> tuple[Callable[[], None], Callable[[], None]]:
    objective = make_objective("hybrid")
    networks = [
        DiT(dit_config("S/2", input_size=side, in_channels=4, num_classes=CLASSES)).to(device) for _ in "ab"
    ]
    optimisers = [torch.optim.AdamW(network.parameters(), lr=1e-5, fused=True) for network in networks]
    data = (
        torch.randn(batch, 4, side, side, device=device),
        torch.arange(batch, device=device) % CLASSES,
        torch.rand(batch, dtype=torch.float64, device=device),
        torch.randn(batch, 4, side, side, device=device),
    )
    patients = batch // draws
    plan = _plan_of(patients)
    check_per_sample_gradients(
        networks[1], lambda n, *b: objective.loss(n, *b).total, tuple(d[:2] for d in data), engine=engine
    )
    grads, parameters = engine(networks[1]), list(networks[1].parameters())

    def losses(network: nn.Module) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            return objective.loss(network, *data).total

    def plain() -> None:
        losses(networks[0]).mean().backward()
        nn.utils.clip_grad_norm_(networks[0].parameters(), 1.0)
        optimisers[0].step()
        optimisers[0].zero_grad(set_to_none=True)

    def private() -> None:
        add_clipped(grads.per_patient(lambda: losses(networks[1]), patients), 1.0)
        add_noise(parameters, plan, 0)
        optimisers[1].step()
        optimisers[1].zero_grad(set_to_none=True)

    return plain, private


def _plan_of(patients: int) -> PrivacyPlan:
    return PrivacyPlan(
        8.0, 1e-5, 8.0, 8.0, 0.0, 1.0, 0.1, 1000, 10 * patients, patients, 1, 1, 1.0, "full", 0
    )


def accounts(_: argparse.Namespace) -> None:
    """Print noise for some budgets and both accountants' epsilon of it."""
    print("| epsilon | delta | chance | steps | noise | PRV (Opacus) | PLD (dp-accounting) | difference |")
    print("|---|---|---|---|---|---|---|---|")
    for epsilon, delta, rate, steps in (
        (8.0, 1e-4, 0.064, 2000),
        (3.0, 1e-4, 0.064, 2000),
        (1.0, 1e-4, 0.064, 2000),
        (8.0, 1e-5, 0.01, 20_000),
        (8.0, 2e-4, 0.2, 300),
    ):
        noise = noise_multiplier_for(epsilon, delta, sample_rate=rate, steps=steps)
        ours = epsilon_of(noise, delta, sample_rate=rate, steps=steps)
        theirs = epsilon_by_pld(noise, delta, sample_rate=rate, steps=steps)
        print(
            f"| {epsilon:g} | {delta:.0e} | {rate:g} | {steps} | {noise:.4f} | {ours:.4f} | {theirs:.4f} | "
            f"{100 * abs(ours - theirs) / theirs:.2f}% |",
            flush=True,
        )


class CanaryTask:
    """Patients' latents, simulated or of a cohort, and after them the canaries that chance has put into training."""

    def __init__(self, folder: Path, patients: int, canaries: int, seed: int, real: str = "") -> None:
        if real:
            train = Cohort.open(real).filter(split="train")
            first = ~train.table["patient_id"].duplicated().to_numpy()
            cohort = train.where(first & (np.cumsum(first) <= patients))
        else:
            cohort = make_phantom_cohort(
                folder / "cohort", patients=patients, pictures_per_patient=(1, 1), size=64, seed=1
            )
        cache = encode_cohort(cohort, load_encoder("tiny-4"), 64, folder / "latents.npy", flips=False)
        rows = np.arange(len(cache))
        scale = public_scale("tiny-4", cohort.info.modality)
        latents = scale.normalise(
            cache.latents(rows, np.zeros(len(rows), int), torch.zeros(len(rows), 4, 8, 8))
        )
        made, noise = torch.randn(2, canaries, 4, 8, 8, generator=torch_generator_for(seed, "canaries"))
        self.canaries = (
            2 * made,
            torch.arange(canaries) % CLASSES,
            torch.full((canaries,), 0.4, dtype=torch.float64),
            noise,
        )
        self.included = generator_for(seed, "coins").random(canaries) < 0.5
        chosen = np.flatnonzero(self.included)
        self.real = len(latents)
        self._latents = torch.cat([latents, self.canaries[0][chosen]])
        self._labels = torch.cat([torch.arange(len(latents)) % CLASSES, self.canaries[1][chosen]])
        self._noise, self._chosen = noise, chosen
        self._objective = make_objective("flow")
        shape = DiTConfig(8, 4, CLASSES, 2, 1, 32, 2, learn_sigma=False)
        self.network: nn.Module = DiT(shape, torch_generator_for(seed, "weights"))

    def dataset_size(self) -> int:
        return len(self._latents)

    def patients(self) -> np.ndarray:
        return np.array([f"p{row}" for row in range(len(self._latents))])

    def image_ids(self, rows: np.ndarray) -> list[str]:
        return [str(row) for row in rows]

    def private_batch(self, rows: np.ndarray, times: Tensor, random: torch.Generator) -> tuple[Tensor, ...]:
        noise = torch.randn(len(rows), 4, 8, 8, generator=random)
        times = times.clone()
        for place in np.flatnonzero(rows >= self.real):  # a canary's draws are its own, always the same
            noise[place] = self._noise[self._chosen[rows[place] - self.real]]
            times[place] = 0.4
        return self._latents[rows], self._labels[rows], times, noise

    def private_losses(self, network: nn.Module, *batch: Tensor) -> dict[str, Tensor]:
        return {"loss": self._objective.loss(network, *batch).total}

    def losses(
        self, network: nn.Module, rows: np.ndarray, images_seen: int, places: slice
    ) -> dict[str, Tensor]:
        raise NotImplementedError

    def validate(self, network: nn.Module) -> dict[str, Any]:
        return {}

    def draw_sheets(self, network: nn.Module, images_seen: int) -> None:
        pass


class Watched(PrivateTrainer):
    """A private trainer whose noised gradients the attacker reads."""

    def watch(self, task: CanaryTask) -> np.ndarray:
        """Train, and return the canaries' scores (n,).

        What was seen is a sum of gradients with noise. The attacker, who knows every canary's gradient, estimates each
        one's part in it by least squares, damped by the noise and by the others' share.
        """
        scores = np.zeros(len(task.included))
        engine, step, parameters = OpacusGradients(self._network), self._optimiser.step, self._trained
        clip, noise = self._plan.clip, self._plan.noise_multiplier
        everyone = torch.arange(task.dataset_size())[: task.real].numpy()

        def gradients(batch: tuple[Tensor, ...]) -> Tensor:
            kept = [p.grad for p in parameters]
            found = engine.per_patient(
                lambda: task.private_losses(self._network, *batch)["loss"], len(batch[0])
            )
            rows = torch.cat([g.flatten(1) for _, g in found.gradients], dim=1)
            for parameter, gradient in zip(parameters, kept, strict=True):
                parameter.grad = gradient
            return rows * (clip / (rows.norm(dim=1, keepdim=True) + 1e-6)).clamp(max=1.0)

        def watched_step() -> None:
            seen = torch.cat([p.grad.flatten() for p in parameters]) * self._plan.patients_per_step
            mine = gradients(task.canaries)
            times = torch.rand(len(everyone), dtype=torch.float64)
            others = gradients(task.private_batch(everyone, times, torch.Generator().manual_seed(1)))
            # What is not the canaries': the other patients' gradients, as a direction and a spread.
            basis = torch.cat([mine, others]) / clip
            gram = (basis @ basis.t()).double()
            damped = gram + (noise**2 + 0.05) * torch.eye(len(gram))
            parts = torch.linalg.solve(damped, (basis @ (seen / clip)).double())
            scores[:] += parts[: len(scores)].numpy()
            step()

        self._optimiser.step = watched_step  # type: ignore[method-assign,assignment]
        self.train()
        return scores


def canaries(options: argparse.Namespace) -> None:
    """Print the lower bounds with noise and without."""
    task_seed = options.seed
    print("| noise | epsilon (PRV) | dp-accounting | attack | lower bound, guesses | lower bound, Gaussian |")
    print("|---|---|---|---|---|---|")
    for noise_on in (True, False):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) if not options.work else Path(options.work)
            task = CanaryTask(folder, options.patients, options.canaries, task_seed, options.real)
            privacy = PrivacyOptions(
                epsilon=8.0, patients_per_step=options.per_step, draws=1, clip=0.1, shares_epsilon=0.0
            )
            images = options.steps * options.per_step
            plan = make_plan(privacy, images, task.patients())
            if not noise_on:
                plan = replace(plan, noise_multiplier=0.0)
            training = TrainingOptions(
                images=images,
                learning_rate=1e-3,
                precision="fp32",
                checkpoint_every=images,
                validate_every=images,
                sheet_every=images,
            )
            run = Path(tempfile.mkdtemp(dir=name))
            trainer = Watched(task, training, plan, 2**100 + task_seed, run, Processes())
            scores = trainer.watch(task)
            with torch.no_grad():
                final = -task.private_losses(task.network, *task.canaries)["loss"].double().numpy()
        for attack, values in (("every noised gradient", scores), ("loss of the last network", final)):
            bounds = [
                epsilon_lower_bound(values, task.included, delta=plan.delta, method=method).epsilon
                for method in ("guesses", "gaussian")
            ]
            epsilon = f"{plan.epsilon:.2f} | {plan.epsilon_checked:.2f}" if noise_on else "inf | inf"
            print(
                f"| {plan.noise_multiplier:.2f} | {epsilon} | {attack} | {bounds[0]:.2f} | {bounds[1]:.2f} |",
                flush=True,
            )


def scales(_: argparse.Namespace) -> None:
    """Print the latents' scale on simulated scans."""
    with tempfile.TemporaryDirectory() as name:
        for kind in ("breast-ultrasound", "chest-ct"):
            cohort = make_phantom_cohort(
                Path(name) / kind, kind=kind, patients=32, pictures_per_patient=(1, 1)
            )
            for encoder in ("pixels", "tiny-4", "tiny-16"):
                path = Path(name) / f"{kind}-{encoder}.npy"
                found = encode_cohort(cohort, load_encoder(encoder), 128, path, flips=False).measure_scale()
                print(kind, encoder, np.round(found.mean, 3).tolist(), np.round(found.std, 3).tolist())


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("what", choices=["speed", "accounts", "canaries", "scales"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--patients", type=int, default=100)
    parser.add_argument("--canaries", type=int, default=200)
    parser.add_argument("--per-step", type=int, default=20)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument(
        "--real", default="", help="canaries: a cohort whose train patients stand beside them"
    )
    parser.add_argument("--work", default="", help="folder that keeps the simulated scans")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    {"speed": speed, "accounts": accounts, "canaries": canaries, "scales": scales}[options.what](options)


if __name__ == "__main__":
    main()
