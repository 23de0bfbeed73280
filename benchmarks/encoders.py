"""The shipped encoders: fidelity of what they give back, and speed beside the Stable Diffusion architecture.

    python benchmarks/encoders.py BUSI_COHORT [BUSBRA_COHORT]

Fidelity: PSNR at 256 px; at 128 px FD of reconstructions from their originals, beside the floor: the FD of two
halves of the originals that share no patient, at the same n. Speckle: distance between the histograms of
detail (what a Gaussian of 1.5 px leaves), and the mean gap of the radial power spectra in decibels. Of BUS-BRA
only pictures are used that the encoders never saw. Speed: encode and decode at 256 px, interleaved, medians, one run.
"""

import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from scipy.stats import wasserstein_distance

from datadouble.audit.features import extract_features
from datadouble.audit.fidelity.frechet import frechet_distance
from datadouble.audit.fidelity.grey_levels import detail
from datadouble.audit.fidelity.spectrum import radial_spectrum, spectrum_gap
from datadouble.cohort import Cohort
from datadouble.cohort.pixels import fit_square
from datadouble.encoders import load_encoder, seen_images
from datadouble.encoders.base import Encoder
from datadouble.randomness import generator_for
from script import parser_of


def reconstruct(encoder: Encoder, pictures: np.ndarray) -> np.ndarray:
    """Return uint8 (n, s, s) → the same after encoding (means) and decoding."""
    parts = []
    for part in np.array_split(pictures, max(len(pictures) // 32, 1)):
        images = torch.from_numpy(part).float()[:, None] / 127.5 - 1
        latents = encoder.encode(images)[:, : encoder.latent_channels]
        parts.append(
            ((encoder.decode(latents)[:, 0] + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()
        )
    return np.concatenate(parts)


def psnr(pictures: np.ndarray, others: np.ndarray) -> float:
    """Return the mean over pictures, in decibels."""
    error = ((pictures.astype(np.float64) - others) ** 2).mean(axis=(1, 2))
    return float((10 * np.log10(255**2 / np.maximum(error, 1e-9))).mean())


def fidelity(name: str, cohort: Cohort, encoders: list[str]) -> None:
    large = np.stack([fit_square(cohort.image(i), 256) for i in range(len(cohort))])
    small = np.stack([fit_square(cohort.image(i), 128) for i in range(len(cohort))])
    originals = extract_features(list(small)).array
    patients = cohort.table["patient_id"].to_numpy()
    names = np.unique(patients)
    floors = []
    for repeat in range(5):
        half = np.isin(patients, generator_for(repeat, "halves").permutation(names)[: len(names) // 2])
        n = min(half.sum(), (~half).sum())
        floors.append(frechet_distance(originals[half][:n], originals[~half][:n]))
    first = np.isin(patients, generator_for(0, "halves").permutation(names)[: len(names) // 2])
    print(f"\n{name}: {len(cohort)} pictures; FD floor at 128 px {np.mean(floors):.1f} (n = {n})\n")
    print(
        "| encoder | PSNR 256 px | PSNR 128 px | FD 128 px | share of the floor | detail W1 | spectrum gap |"
    )
    print("|---|---|---|---|---|---|---|")
    for encoder_name in encoders:
        encoder = load_encoder(encoder_name)
        back, back_small = reconstruct(encoder, large), reconstruct(encoder, small)
        distance = frechet_distance(originals[first], extract_features(list(back_small[first])).array)
        w1 = wasserstein_distance(detail(large).ravel()[::97], detail(back).ravel()[::97])
        gap = spectrum_gap(*(radial_spectrum(pictures, windowed=False) for pictures in (large, back)))
        print(
            f"| {encoder_name} | {psnr(large, back):.2f} dB | {psnr(small, back_small):.2f} dB | {distance:.1f} "
            f"| {distance / np.mean(floors):.2f} | {w1:.2f} | {gap:.2f} dB |",
            flush=True,
        )


def speed(encoders: list[str], size: int, batch: int, repeats: int) -> None:
    from diffusers import AutoencoderKL

    channels = (128, 256, 512, 512)
    peer = AutoencoderKL(
        block_out_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
    ).eval()
    peer.to(memory_format=torch.channels_last)
    images = torch.rand(batch, 1, size, size) * 2 - 1

    def run_peer() -> None:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            colour = images.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
            peer.decode(peer.encode(colour).latent_dist.mean)

    tested = {name: load_encoder(name) for name in encoders}
    seconds: dict[str, list[float]] = {name: [] for name in ["peer", *tested]}
    for repeat in range(repeats + 1):
        for name in seconds:
            started = time.perf_counter()
            if name == "peer":
                run_peer()
            else:
                encoder = tested[name]
                encoder.decode(encoder.encode(images)[:, : encoder.latent_channels])
            if repeat:
                seconds[name].append(time.perf_counter() - started)
    print(
        f"\nencode + decode, {batch} pictures of {size} px, bf16, channels_last, {torch.get_num_threads()} threads\n"
    )
    print("| encoder | images/s | times AutoencoderKL (Stable Diffusion) |\n|---|---|---|")
    for name, values in seconds.items():
        ratio = median(seconds["peer"]) / median(values)
        print(
            f"| {'AutoencoderKL' if name == 'peer' else name} | {batch / median(values):.1f} | {ratio:.1f} |"
        )


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("busi", type=Path)
    parser.add_argument("busbra", type=Path, nargs="?")
    parser.add_argument("--encoders", nargs="+", default=["tiny-4", "tiny-16"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-speed", action="store_true")
    options = parser.parse_args()
    fidelity("BUSI", Cohort.open(options.busi), options.encoders)
    if options.busbra:
        cohort = Cohort.open(options.busbra)
        seen = seen_images(cohort)
        fidelity("BUS-BRA, never seen", cohort.where(~cohort.table["image_id"].isin(seen)), options.encoders)
    if not options.no_speed:
        speed(options.encoders, 256, 2, options.repeats)


if __name__ == "__main__":
    main()
