"""DiffGuard's U-Net against diffusers' own DDPM example and `denoising-diffusion-pytorch`: training and sampling.

    pip install --target PEER --no-deps denoising-diffusion-pytorch ema-pytorch
    python benchmarks/pixel_diffusion.py --peer PEER                      # half an hour on one core
    python benchmarks/pixel_diffusion.py --peer PEER --repeats 1 --skip example-as-is

All learn picture and mask code (4 channels) at one size and batch, in one run, in turns; medians. A training step is
each project's own: ours (classes, EMA, clipped norm, fused AdamW), diffusers' `train_unconditional.py` (epsilon, AdamW,
clipped norm, EMAModel; their U-Net of 114 M parameters, and the same shape at our number of parameters) and the
Trainer of denoising-diffusion-pytorch (v, Adam, clipped norm, EMA every tenth step; its U-Net at our number of
parameters). Both train in fp32 unless told otherwise; ours in bf16: so each is shown in both.

Sampling is each one's default: ours as the preset says, 1,000 ancestral steps of `DDPMPipeline`, 250 steps of DDIM as
the README of denoising-diffusion-pytorch has it. Of long samplings a few calls are timed, and counted up.
"""

import gc
import json
import math
import statistics
import sys
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from datadouble import files
from datadouble.diffusion.samplers import sample
from datadouble.networks.unet import build_unet
from datadouble.recipes.config import build, read_preset
from datadouble.recipes.diffguard import DiffguardConfig, build_network_config
from datadouble.recipes.diffguard_generator import objective_for
from datadouble.training.ema import WeightAverage
from script import parser_of

CLASSES, MASK_CHANNELS = 4, 3
CALLS = 3  # of a long sampling that are timed
OURS = "DiffGuard"


@dataclass
class Contender:
    """One row: what trains, what samples, and by how many calls a picture is sampled."""

    name: str
    dtype: str
    parameters: int
    step: Callable[[], None]
    calls: Callable[[], int]  # samples a batch with some of the network's calls, and says how many
    sampling: str
    all_calls: int


def autocast(device: torch.device, bf16: bool) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=bf16)


def ours(preset: str, batch: int, device: torch.device, bf16: bool) -> Contender:
    """The preset's network, objective, step and sampler."""
    config = build(DiffguardConfig, read_preset("diffguard", preset))
    shape = build_network_config(config, MASK_CHANNELS, CLASSES)
    network = build_unet(shape).to(device)
    objective, options = objective_for(asdict(config.diffusion)), config.training
    optimiser = torch.optim.AdamW(
        network.parameters(),
        lr=1e-5,
        betas=(options.betas[0], options.betas[1]),
        weight_decay=options.weight_decay,
        fused=True,
    )
    average = WeightAverage(network, options.ema_half_life)
    clean = torch.randn(batch, shape.in_channels, shape.size, shape.size, device=device).clamp(-1, 1)
    labels = torch.arange(batch, device=device) % CLASSES

    def step() -> None:
        network.train()
        times = torch.rand(batch, dtype=torch.float64, device=device)
        optimiser.zero_grad(set_to_none=True)
        with autocast(device, bf16):
            loss = objective.loss(network, clean, labels, times, torch.randn_like(clean)).total.mean()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), options.clip)
        optimiser.step()
        average.update(network, 100_000, batch)

    def predict(x: Tensor, timesteps: Tensor, classes: Tensor) -> Tensor:
        with autocast(device, bf16):
            return network(x, timesteps, classes)

    def calls() -> int:
        network.eval()
        sample(
            predict,
            torch.randn_like(clean),
            labels,
            objective=objective,
            sampler=config.sampling.sampler,
            steps=config.sampling.steps,
            clamp=1.0,
        )
        return steps

    steps = config.sampling.steps * (2 if config.sampling.sampler == "heun" else 1)
    words = f"{config.sampling.sampler}, {config.sampling.steps} steps"
    return Contender(
        f"{OURS} (`{preset}`)", _kind(bf16), network.parameter_count(), step, calls, words, steps
    )


def example(size: int, batch: int, device: torch.device, bf16: bool, near: int | None) -> Contender:
    """Diffusers' unconditional example: U-Net, scheduler, optimiser and EMA as its script sets them.

    `near`: as many parameters as that, the channels of all levels scaled alike; None: as the script has them.
    """
    from diffusers import DDPMScheduler, UNet2DModel
    from diffusers.training_utils import EMAModel

    def make(width: int) -> Any:
        return UNet2DModel(
            sample_size=size,
            in_channels=1 + MASK_CHANNELS,
            out_channels=1 + MASK_CHANNELS,
            layers_per_block=2,
            block_out_channels=tuple(width * m for m in (1, 1, 2, 2, 4, 4)),
            norm_num_groups=math.gcd(32, width),
            down_block_types=(*["DownBlock2D"] * 4, "AttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "AttnUpBlock2D", *["UpBlock2D"] * 4),
        )

    width = 128 if near is None else nearest(make, range(8, 65, 4), near)
    network = make(width).to(device)
    schedule = DDPMScheduler(num_train_timesteps=1000)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=1e-4, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8
    )
    average = EMAModel(network.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=3 / 4)
    clean = torch.randn(batch, 1 + MASK_CHANNELS, size, size, device=device).clamp(-1, 1)

    def step() -> None:
        network.train()
        noise = torch.randn_like(clean)
        timesteps = torch.randint(0, 1000, (batch,), device=device)
        noisy = schedule.add_noise(clean, noise, timesteps)
        with autocast(device, bf16):
            loss = torch.nn.functional.mse_loss(network(noisy, timesteps).sample.float(), noise)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        average.step(network.parameters())
        optimiser.zero_grad()

    @torch.no_grad()
    def calls() -> int:
        network.eval()
        schedule.set_timesteps(1000)
        x = torch.randn_like(clean)
        for at in schedule.timesteps[:CALLS]:
            with autocast(device, bf16):
                found = network(x, at).sample
            x = schedule.step(found.float(), at, x).prev_sample
        return CALLS

    name = "diffusers' example" + (", as it is" if near is None else ", our number of parameters")
    count = sum(p.numel() for p in network.parameters())
    return Contender(name, _kind(bf16), count, step, calls, "ddpm, 1000 steps", 1000)


def peer(folder: Path, size: int, batch: int, device: torch.device, bf16: bool, near: int) -> Contender:
    """denoising-diffusion-pytorch, with its defaults, at about `near` parameters."""
    with _importable(folder):
        from denoising_diffusion_pytorch import GaussianDiffusion, Unet, denoising_diffusion_pytorch
        from ema_pytorch import EMA
    denoising_diffusion_pytorch.tqdm = lambda items, **_: items  # no bar for each batch

    def make(dim: int) -> Any:
        return Unet(dim=dim, dim_mults=(1, 2, 4, 8), channels=1 + MASK_CHANNELS)

    network = make(nearest(make, range(12, 49, 2), near))
    diffusion = GaussianDiffusion(network, image_size=size, timesteps=1000).to(device)
    quick = GaussianDiffusion(network, image_size=size, timesteps=1000, sampling_timesteps=CALLS).to(device)
    optimiser = torch.optim.Adam(diffusion.parameters(), lr=1e-4, betas=(0.9, 0.99))
    average = EMA(diffusion, beta=0.995, update_every=10).to(device)
    clean = torch.rand(batch, 1 + MASK_CHANNELS, size, size, device=device)

    def step() -> None:
        diffusion.train()
        with autocast(device, bf16):
            loss = diffusion(clean)
        loss.backward()
        nn.utils.clip_grad_norm_(diffusion.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        average.update()

    def calls() -> int:
        quick.eval()
        with autocast(device, bf16):
            quick.sample(batch_size=batch)
        return CALLS

    count = sum(p.numel() for p in network.parameters())
    return Contender(
        "denoising-diffusion-pytorch, our number of parameters",
        _kind(bf16),
        count,
        step,
        calls,
        "ddim, 250 steps",
        250,
    )


def nearest(make: Callable[[int], nn.Module], widths: range, near: int) -> int:
    """The width whose network has the nearest number of parameters, within 10%."""
    counts = {width: sum(p.numel() for p in make(width).parameters()) for width in widths}
    best = min(widths, key=lambda width: abs(math.log(counts[width] / near)))
    if abs(counts[best] / near - 1) > 0.1:
        raise SystemExit(f"no width within 10% of {near:,} parameters: nearest {counts[best]:,}")
    return best


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """`folder` at the end of the path, and a stand-in where there is no torchvision.

    The package imports torchvision at its top, for reading picture files and saving sheets only: neither is used here.
    DataDouble does without torchvision, which has no build for every torch. The stand-in is taken away again, so
    that nothing else takes it for the real one.
    """
    stand_in = find_spec("torchvision") is None
    if stand_in:
        module = types.ModuleType("torchvision")
        for name in ("transforms", "utils"):
            setattr(module, name, types.ModuleType(f"torchvision.{name}"))
        sys.modules["torchvision"] = module
    sys.path.append(str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        if stand_in:
            del sys.modules["torchvision"]


def _kind(bf16: bool) -> str:
    return "bf16" if bf16 else "fp32"


def timed(
    contenders: list[Contender], repeats: int, device: torch.device, clock: Callable[[], float]
) -> list[dict[str, list[float]]]:
    """Seconds of every step, and of every call while sampling, contenders in turns; the first round warms up."""
    found: list[dict[str, list[float]]] = [{"step": [], "call": []} for _ in contenders]
    for turn in range(repeats + 1):
        order = range(len(contenders)) if turn % 2 else reversed(range(len(contenders)))
        for place in order:
            contender = contenders[place]
            for what in ("step", "call"):
                started = clock()
                calls = contender.calls() if what == "call" else contender.step() or 1
                if device.type == "cuda":
                    torch.cuda.synchronize()
                if turn:
                    found[place][what].append((clock() - started) / calls)
            gc.collect()
            print(f"round {turn}, {contender.name}, {contender.dtype}", file=sys.stderr, flush=True)
    return found


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--peer", type=Path, help="folder with denoising-diffusion-pytorch, see above")
    parser.add_argument("--preset", default="cpu-64")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dtypes", nargs="+", default=["fp32", "bf16"], choices=["fp32", "bf16"])
    parser.add_argument("--skip", nargs="*", default=[], choices=["example-as-is"])
    parser.add_argument("--wall", action="store_true", help="the clock's seconds also on a CPU")
    parser.add_argument("--machine", default="2 shared cores of an AMD EPYC", help="in words, for the table")
    parser.add_argument("--out", type=Path, default=Path("results/diffguard"))
    options = parser.parse_args()
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    by_processor = device.type == "cpu" and not options.wall
    clock = time.process_time if by_processor else time.perf_counter
    size = int(read_preset("diffguard", options.preset)["data"]["size"])

    contenders, notes = [], []
    for dtype in options.dtypes:
        bf16 = dtype == "bf16"
        mine = ours(options.preset, options.batch, device, bf16)
        contenders += [mine, example(size, options.batch, device, bf16, mine.parameters)]
        try:
            if options.peer is None and find_spec("denoising_diffusion_pytorch") is None:
                raise ImportError("no --peer was given")
            folder = options.peer or Path(".")
            contenders.append(peer(folder, size, options.batch, device, bf16, mine.parameters))
        except ImportError as error:
            notes.append(f"denoising-diffusion-pytorch is not here ({error}): not measured.")
    if "example-as-is" not in options.skip:
        contenders.append(example(size, options.batch, device, False, None))
    else:
        notes.append("diffusers' example with its own 114 M parameters was left out (--skip).")
    patch = build(DiffguardConfig, read_preset("diffguard", options.preset)).model.patch
    if patch > 1:
        notes.append(
            f"Ours folds squares of {patch} x {patch} pixels into channels; the others work on every pixel."
        )
    seconds = timed(contenders, options.repeats, device, clock)

    lead = next(
        place
        for place, one in enumerate(contenders)
        if one.name.startswith(OURS) and one.dtype == options.dtypes[-1]
    )
    rows = []
    for one, own in zip(contenders, seconds, strict=True):
        base = seconds[lead]
        picture = [call * one.all_calls for call in own["call"]]
        leading = [call * contenders[lead].all_calls for call in base["call"]]
        rows.append(
            {
                "name": one.name,
                "dtype": one.dtype,
                "parameters": one.parameters,
                "training_images_per_second": options.batch / statistics.median(own["step"]),
                "training_ratio": statistics.median(
                    b / a for a, b in zip(base["step"], own["step"], strict=True)
                ),
                "sampling": one.sampling,
                "sampling_images_per_second": options.batch / statistics.median(picture),
                "sampling_ratio": statistics.median(b / a for a, b in zip(leading, picture, strict=True)),
                "call_ratio": statistics.median(
                    b / a for a, b in zip(base["call"], own["call"], strict=True)
                ),
            }
        )
    found = {
        "machine": torch.cuda.get_device_name() if device.type == "cuda" else options.machine,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "clock": "processor" if by_processor else "wall",
        "size": size,
        "batch": options.batch,
        "repeats": options.repeats,
        "rows": rows,
        "notes": list(dict.fromkeys(notes)),
    }
    text = markdown(found, rows[lead])
    print(text)
    options.out.mkdir(parents=True, exist_ok=True)
    files.write_text(options.out / "speed.md", text)
    files.write_json(options.out / "speed.json", json.loads(json.dumps(found)))


def markdown(found: dict[str, Any], lead: dict[str, Any]) -> str:
    """The table."""
    lines = [
        f"# Pixel diffusion: speed at {found['size']} px, batch {found['batch']}",
        "",
        f"{found['machine']}, {found['threads']} thread(s), torch {found['torch']}; {found['clock']} seconds, medians "
        f"of {found['repeats']} rounds in turns. Ratios: times the seconds of {lead['name']} in {lead['dtype']} (the "
        "preset's precision), neighbours in a round; above 1 ours is faster. Of long samplings a few calls are "
        "timed and counted up.",
        "",
        "| network | dtype | parameters | training, images/s | ratio | sampler | images/s | ratio | one call, ratio |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found["rows"]:
        lines.append(
            f"| {row['name']} | {row['dtype']} | {row['parameters']:,} | {row['training_images_per_second']:.3g} | "
            f"{row['training_ratio']:.2f} | {row['sampling']} | {row['sampling_images_per_second']:.3g} | "
            f"{row['sampling_ratio']:.1f} | {row['call_ratio']:.2f} |"
        )
    return "\n".join([*lines, "", *(f"- {note}" for note in found["notes"])]).rstrip() + "\n"


if __name__ == "__main__":
    main()
