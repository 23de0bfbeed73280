"""Editing scans end to end with recipe `lesion`, beside the architecture of Stable Diffusion inpainting.

    python benchmarks/lesion_editing.py RUN BACKGROUNDS [--images 100] [--peer-images 1] [--peer-steps 2]

Ours is `generate` without writing: patch, place, blend, repair, verify. The peer is what the inpainting pipeline of
diffusers does to a picture of the same side: encode it, call the U-Net of Stable Diffusion 1.5 inpainting (nine
channels in) with guidance at each of 50 steps, decode it; in bfloat16 or float32, whichever is faster here. Its weights
are random, which changes no time; its text encoder, a thousandth of the work, is left out. On a CPU a few steps are
measured and scaled to 50. A training of a few steps is as fast as a long one: with `--discs`, discs stand for the
lesions that its network does not draw, so that all stages have their work.
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from datadouble.recipes.drawing import config_of
from datadouble.recipes.lesion import lesion_drawer
from datadouble.recipes.lesion.config import LesionConfig
from datadouble.recipes.lesion.crops import LesionPatch
from datadouble.recipes.lesion.loading import load_generator
from datadouble.recipes.lesion.run_facts import RunFacts
from script import parser_of

STEPS = 50  # the pipeline's default


def fill(network: nn.Module, device: torch.device) -> nn.Module:
    """Give a network that was built on the meta device weights of no meaning, without minutes of drawing them."""
    network = network.to_empty(device=device)
    block = 0.02 * torch.randn(1 << 16, device=device)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(
                block.repeat(-(-parameter.numel() // len(block)))[: parameter.numel()].view_as(parameter)
            )
    return network.eval()


def build_peer(device: torch.device) -> tuple[nn.Module, nn.Module]:
    """Return U-Net and autoencoder of Stable Diffusion 1.5 inpainting."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(
            sample_size=64,
            in_channels=9,
            block_out_channels=(320, 640, 1280, 1280),
            cross_attention_dim=768,
            attention_head_dim=8,
        )
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            latent_channels=4,
        )
    return fill(unet, device), fill(vae, device)


@torch.no_grad()
def time_peer(
    unet: nn.Module,
    vae: nn.Module,
    size: int,
    images: int,
    steps: int,
    device: torch.device,
    clock: Callable[[], float],
    half: bool,
) -> tuple[float, float]:
    """Return seconds a picture outside the U-Net, and seconds a step and picture.

    `half` computes in bfloat16, which some processors are slower at.
    """
    side = size // 8
    latents = torch.randn(images, 4, side, side, device=device)
    text = torch.randn(2 * images, 77, 768, device=device)
    picture = torch.randn(images, 3, size, size, device=device)
    with torch.autocast(device.type, torch.bfloat16, enabled=half):
        started = clock()
        known = vae.encode(picture).latent_dist.mean  # type: ignore[operator]
        vae.decode(latents)  # type: ignore[operator]
        around = (clock() - started) / images
        mask = torch.ones(images, 1, side, side, device=device)
        seen = torch.cat([latents, mask, known.float()], dim=1)
        took = []
        for _ in range(steps + 1):
            started = clock()
            unet(torch.cat([seen, seen]), 500, encoder_hidden_states=text)
            if device.type == "cuda":
                torch.cuda.synchronize()
            took.append((clock() - started) / images)
    return around, sum(took[1:]) / steps


def patches_with_discs(drawn: torch.Tensor) -> list[LesionPatch]:
    """In the place of drawn lesions, discs."""
    y, x = np.mgrid[: drawn.shape[-2], : drawn.shape[-1]] - (drawn.shape[-1] - 1) / 2
    mask = x**2 + y**2 < (drawn.shape[-1] / 4) ** 2
    grey = ((drawn[:, 0].clamp(-1, 1) + 1) * 60).to(torch.uint8).cpu().numpy()
    return [LesionPatch(np.where(mask, image // 2, image), mask, 2.0) for image in grey]


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("backgrounds", type=Path)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--peer-images", type=int, default=1)
    parser.add_argument("--peer-steps", type=int, default=2, help="measured after one to warm up")
    parser.add_argument("--processor-time", action="store_true", help="for a CPU that others use too")
    parser.add_argument("--discs", action="store_true", help="for a run of a few steps")
    options = parser.parse_args()
    if options.discs:
        lesion_drawer.patches_of = patches_with_discs

    clock = time.process_time if options.processor_time else time.perf_counter
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    generator = load_generator(options.run, backgrounds=options.backgrounds)
    size, batch = config_of(options.run, LesionConfig).data.size, generator.facts.batch
    healthy = RunFacts.load(options.run).healthy
    lesions = [label for label, name in enumerate(generator.facts.classes) if name != healthy]
    generator.draw(lesions[0], range(2), 1)
    started, done, whole = clock(), 0, 0
    while done < options.images:
        count = min(batch, options.images - done)
        drawn = generator.draw(lesions[(done // batch) % len(lesions)], range(done, done + count), 0)
        whole += int((drawn.masks > 0).any(axis=(1, 2)).sum())
        done += count
    ours = (clock() - started) / done
    peers, (unet, vae) = {}, build_peer(device)
    parameters = sum(p.numel() for p in unet.parameters())
    for precision, half in {"bf16": True, "fp32": False}.items():
        around, step = time_peer(
            unet, vae, size, options.peer_images, options.peer_steps, device, clock, half
        )
        peers[precision] = around + STEPS * step
    precision, peer = min(peers.items(), key=lambda one: one[1])
    print(f"{size} px, {device.type}, {torch.get_num_threads()} threads\n")
    print(f"{whole} of {done} pictures went through all stages\n")
    print("| | pictures measured | seconds a picture | pictures a second |\n|---|---|---|---|")
    print(f"| recipe lesion, end to end | {done} | {ours:.3f} | {1 / ours:.3g} |")
    print(
        f"| Stable Diffusion inpainting, {parameters / 1e6:.0f} M, {STEPS} steps (scaled from {options.peer_steps}), "
        f"{precision}, the faster one | "
        f"{options.peer_images} | {peer:.1f} | {1 / peer:.3g} |"
    )
    print(f"\n{peer / ours:.0f} times faster")


if __name__ == "__main__":
    main()
