"""Fine-tuning with low-rank adapters beside fine-tuning all weights, of the networks of recipe `lesion` with adapters.

    python benchmarks/lesion_lora.py --out results/lesion/lora.json [--presets cpu-128] [--batch 16] [--steps 12]

Each arm is a process of its own, so that its memory is its own, and takes the training loop's step (bfloat16 forward
and backward, clipping, fused AdamW) on random pictures of the preset's size; both arms take turns, `--turns` times.
Memory is what the process, or on a GPU the allocator, held at most beyond the loaded base. Adapters save memory of
gradients and optimiser, not of activations, and the way back through the frozen layers remains.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import nn

from datadouble import files
from datadouble.networks.patch_denoiser import PatchDenoiser
from datadouble.recipes.config import build, read_preset
from datadouble.recipes.lesion.config import LesionConfig
from datadouble.recipes.lesion.lesion_stage import network_config, put_adapter
from datadouble.recipes.lesion.repair_options import build_repair_unet, build_seam_network
from script import parser_of, run_script

CLASSES = 2
NETWORKS = ("lesion", "repair")
ARMS = ("adapters", "all weights")
COLUMNS = ("images a second", "trained parameters", "optimiser, MB", "memory beyond the base, MB")


def inputs_and_network(
    config: LesionConfig, name: str, arm: str, batch: int, device: torch.device
) -> tuple[nn.Module, list[torch.Tensor]]:
    """Return a network made ready for an arm, and what it is called with."""
    if name == "lesion":
        shape = network_config(config.lesion, config.data.patch, CLASSES)
        network: nn.Module = PatchDenoiser(shape)
        picture = torch.randn(batch, shape.in_channels, shape.size, shape.size)
        more = [torch.randn(batch, shape.conditions)]
    else:
        options = config.repair
        network = build_repair_unet(options, CLASSES)
        channels = options.network(CLASSES + 1).in_channels
        picture, more = torch.randn(batch, channels, options.side, options.side), []
    if arm == "adapters" and name == "lesion":
        put_adapter(network, config.lesion, None)
    elif arm == "adapters":
        build_seam_network(network, config.repair.lora_rank, config.repair.lora_targets)
    given = [picture, torch.rand(batch) * 999, torch.zeros(batch, dtype=torch.int64), *more]
    return network.to(device), [value.to(device) for value in given]


def held(device: torch.device) -> float:
    """Return the greatest memory so far, in bytes."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    return 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure(preset: str, name: str, arm: str, batch: int, steps: int) -> dict[str, float]:
    """Return an arm's figures."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    config = build(LesionConfig, read_preset("lesion", preset))
    network, given = inputs_and_network(config, name, arm, batch, device)
    before = held(device)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
    times = []
    for _ in range(steps + 2):
        started = time.perf_counter()
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16):
            loss = network(*given).square().mean()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        float(loss.detach())
        times.append(time.perf_counter() - started)
    kept = sum(
        value.numel() * value.element_size()
        for state in optimiser.state.values()
        for value in state.values()
        if value.numel() > 1
    )
    return {
        "images a second": batch / statistics.median(times[2:]),
        "trained parameters": sum(p.numel() for p in network.parameters() if p.requires_grad),
        "optimiser, MB": kept / 1e6,
        "memory beyond the base, MB": (held(device) - before) / 1e6,
    }


def run(options: argparse.Namespace) -> None:
    if options.arm:
        preset, name, arm = options.arm
        print(json.dumps(measure(preset, name, arm, options.batch, options.steps)))
        return
    found: dict[str, list[dict[str, float]]] = {}
    for turn in range(options.turns):
        for preset in options.presets:
            for name in NETWORKS:
                for arm in ARMS if turn % 2 == 0 else ARMS[::-1]:
                    command = [sys.executable, __file__, "--arm", preset, name, arm]
                    command += ["--batch", str(options.batch), "--steps", str(options.steps)]
                    done = subprocess.run(command, check=True, capture_output=True, text=True)
                    found.setdefault(f"{preset}, {name}, {arm}", []).append(json.loads(done.stdout))
    medians = {
        key: {column: statistics.median(one[column] for one in runs) for column in COLUMNS}
        for key, runs in found.items()
    }
    facts = {"batch": options.batch, "threads": torch.get_num_threads(), "cuda": torch.cuda.is_available()}
    if options.out:
        files.write_json(options.out, facts | {"medians": medians, "turns": found})
    print(f"batch {options.batch}, {torch.get_num_threads()} threads, medians of {options.turns} turns\n")
    print(f"| | {' | '.join(COLUMNS)} |\n|---|{'---|' * len(COLUMNS)}")
    for key, row in medians.items():
        print(f"| {key} | {' | '.join(_words(row[column]) for column in COLUMNS)} |")


def _words(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--presets", nargs="+", default=["cpu-128"])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--arm", nargs=3, help=argparse.SUPPRESS)
    run_script(run, parser)


if __name__ == "__main__":
    main()
