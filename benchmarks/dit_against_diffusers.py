"""DiT-S/2 of DataDouble against diffusers' `DiTTransformer2DModel`: forward, training, guided sampling.

Both hold the same weights and give the same outputs (checked first), see the same batch, dtype and gradient
settings, and are timed in turn, the order swapped each time. Ratios are medians of the ratios of neighbours,
which a busy machine disturbs least; above 1 ours is faster.

    python benchmarks/dit_against_diffusers.py                        # about 3 minutes on two cores
    python benchmarks/dit_against_diffusers.py --compile --batch 64   # on a GPU

How each runs: fp32 as it is (TF32 matrix products on CUDA for both). bf16 forward and sampling: weights cast
to bf16, as diffusers loads them with `torch_dtype`. bf16 training: float32 weights under autocast. diffusers
is in its default, SDPA attention; with --compile both are compiled with the same options.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from datadouble.diffusion.guidance import Guidance
from datadouble.diffusion.objectives import make_objective
from datadouble.diffusion.samplers import sample
from datadouble.networks.dit import DiT, ModulationCache, dit_config
from datadouble.networks.dit_diffusers import to_diffusers
from script import parser_of

CLASSES = 5
STEPS = 2  # of the guided sampling row
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def pair(side: int, device: torch.device) -> tuple[DiT, torch.nn.Module]:
    """Ours and diffusers' with the same weights, none of them zero."""
    ours = DiT(dit_config("S/2", input_size=side, in_channels=4, num_classes=CLASSES))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.copy_(0.02 * torch.randn(parameter.shape, generator=generator))
    theirs = to_diffusers(ours)
    return ours.to(device), theirs.to(device)


def flops(model: DiT, side: int, batch: int) -> float:
    """Operations of a forward: two for each weight and token, attention, and the modulation."""
    c = model.config
    tokens = (side // c.patch_size) ** 2
    block = sum(p.numel() for p in model.blocks[0].parameters() if p.dim() == 2)
    ends = model.patches.weight.numel() + model.final.weight.numel()
    attention = 4 * tokens * c.width
    return float(
        batch
        * (tokens * (c.depth * (2 * block + attention) + 2 * ends) + 2 * model.modulation.weight.numel())
    )


def forward(
    model: Callable[[Tensor, Tensor, Tensor], Tensor], batch: tuple[Tensor, ...]
) -> Callable[[], None]:
    def run() -> None:
        with torch.no_grad():
            model(*batch)

    return run


def training(
    model: torch.nn.Module,
    answer: Callable[[Tensor, Tensor, Tensor], Tensor],
    batch: tuple[Tensor, ...],
    bf16: bool,
) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    target = torch.randn_like(batch[0])

    def run() -> None:
        with torch.autocast(target.device.type, torch.bfloat16, enabled=bf16):
            prediction = answer(*batch)[:, :4]
        (prediction.float() - target).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return run


def sampling(model_fn: Callable[[Tensor, Tensor, Tensor], Tensor], noise: Tensor) -> Callable[[], None]:
    """DPM-Solver++ steps with classifier-free guidance for a batch of one class."""
    objective, labels = (
        make_objective("hybrid"),
        torch.ones(len(noise), dtype=torch.long, device=noise.device),
    )
    guidance = Guidance(0.8, null_label=CLASSES)

    def run() -> None:
        sample(model_fn, noise, labels, objective=objective, steps=STEPS, guidance=guidance)

    return run


def measure(
    ours: Callable[[], None],
    theirs: Callable[[], None],
    repeats: int,
    device: torch.device,
    clock: Callable[[], float],
) -> tuple[float, float, float]:
    """Median seconds of ours and of theirs, and the median of theirs / ours over neighbours."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for i in range(repeats + 1):
        for which in (0, 1) if i % 2 else (1, 0):
            start = clock()
            (ours, theirs)[which]()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if i:  # the first round warms up
                seconds[which].append(clock() - start)
    ratios = [b / a for a, b in zip(*seconds, strict=True)]
    return statistics.median(seconds[0]), statistics.median(seconds[1]), statistics.median(ratios)


def rows(side: int, kind: str, options: argparse.Namespace, device: torch.device) -> list[str]:
    """Table rows of one latent size and dtype."""
    batch_size = options.batch or max(1, 4096 // side**2)
    ours, theirs = pair(side, device)
    bf16 = kind == "bf16"
    batch = (
        torch.randn(batch_size, 4, side, side, device=device),
        torch.randint(0, 1000, (batch_size,), device=device),
        torch.arange(batch_size, device=device) % CLASSES,
    )
    with torch.no_grad():
        gap = (ours.eval()(*batch) - theirs.eval()(*batch).sample).abs().max().item()
    if gap > (1e-2 if device.type == "cuda" else 1e-4):  # TF32 on CUDA
        raise SystemExit(f"outputs differ by {gap}: nothing to compare")

    def compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return torch.compile(function) if options.compile else function

    cast = (copy.deepcopy(ours).to(DTYPES[kind]), copy.deepcopy(theirs).to(DTYPES[kind]))
    x = (batch[0].to(DTYPES[kind]), *batch[1:])
    mine = compiled(cast[0])
    call = compiled(lambda x, t, y: cast[1](x, t, class_labels=y, return_dict=False)[0])
    train = compiled(lambda x, t, y: theirs(x, t, class_labels=y, return_dict=False)[0])
    cache = ModulationCache(cast[0], denoise=compiled(cast[0].denoise))
    noise = torch.randn(batch_size, 4, side, side, device=device)
    work = {
        "forward": (forward(mine, x), forward(call, x)),
        "training step": (
            training(ours.train(), compiled(ours), batch, bf16),
            training(theirs.train(), train, batch, bf16),
        ),
        f"sampling, guided, {STEPS} steps": (
            sampling(cache, noise),
            sampling(lambda x, t, y: call(x.to(DTYPES[kind]), t, y), noise),
        ),
    }
    clock = time.process_time if options.processor_time else time.perf_counter
    lines = []
    forward_flops = flops(ours, side, batch_size)
    factor = {"forward": 1, "training step": 3}
    for name, functions in work.items():
        if options.only and not any(name.startswith(wanted) for wanted in options.only):
            continue
        mine_s, theirs_s, ratio = measure(*functions, options.repeats, device, clock)
        line = f"| {name} | {side}x{side} | {batch_size} | {kind} "
        line += f"| {1e3 * mine_s:.1f} | {1e3 * theirs_s:.1f} | {ratio:.2f} |"
        if device.type == "cuda":
            done = forward_flops * factor.get(name, 2 * STEPS) / 1e12
            peak = options.peak_tflops
            line += f" {100 * done / mine_s / peak:.0f}% | {100 * done / theirs_s / peak:.0f}% |"
        print(line, flush=True)
        lines.append(line)
    return lines


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--latents", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--dtypes", nargs="+", choices=list(DTYPES), default=list(DTYPES))
    parser.add_argument("--batch", type=int, help="pictures a batch; default 16, 4 and 1 for 16, 32 and 64")
    parser.add_argument("--only", nargs="+", choices=["forward", "training", "sampling"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--processor-time", action="store_true", help="for a CPU that others use too")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--peak-tflops", type=float, default=989.0, help="for MFU: bf16 peak, H100 and H200")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.manual_seed(0)
    device = torch.device(options.device)
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {options.threads} threads"
    print(
        f"DiT-S/2, {name}, torch {torch.__version__}, compile {options.compile}, {options.repeats} repeats\n"
    )
    mfu = " MFU ours | MFU diffusers |" if device.type == "cuda" else ""
    print(f"| what | latents | batch | dtype | ours, ms | diffusers, ms | diffusers / ours |{mfu}")
    print("|---|---|---|---|---|---|---|" + ("---|---|" if mfu else ""))
    for side in options.latents:
        for kind in options.dtypes:
            rows(side, kind, options, device)


if __name__ == "__main__":
    main()
