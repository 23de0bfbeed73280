"""Feature extraction with embedded weights: pictures a second in bf16 and fp32, beside eager fp32 networks of the
same size.

    python benchmarks/features.py [COHORT] [--images 256] [--repeats 3]

From pictures in memory to vectors, resizing included, as an audit runs it; speckle of 256 px where no cohort is
given. Peers: the same network as PyTorch runs it unless told (fp32, contiguous), and MONAI's EfficientNet-B0 with
random weights, likewise. All rows take turns; medians. Then what bf16 changes: cosine similarity to fp32 features,
the share of pictures whose nearest neighbour among the others is the same, and the Frechet distance between two
halves.
"""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch

from datadouble.audit.features import extract_features, load_extractor
from datadouble.audit.features.efficientnet import EfficientNetExtractor
from datadouble.audit.features.efficientnet_lite import grey_to_input
from datadouble.audit.fidelity.frechet import frechet_distance
from datadouble.audit.privacy import nearest_neighbours
from datadouble.cohort import Cohort
from datadouble.cohort.pixels import fit_square
from datadouble.randomness import generator_for
from script import parser_of

PEER = "the same network, eager fp32, contiguous"


def read(cohort: Path | None, images: int) -> list[np.ndarray]:
    """Return grey pictures of a cohort, or Rayleigh speckle."""
    if cohort is None:
        speckle = generator_for(0, "speckle").rayleigh(50, size=(images, 256, 256))
        return list(np.clip(speckle, 0, 255).astype(np.uint8))
    opened = Cohort.open(cohort)
    return [opened.image(i) for i in range(min(images, len(opened)))]


def eager(network: Callable[[torch.Tensor], torch.Tensor], pictures: list[np.ndarray], batch: int) -> None:
    for start in range(0, len(pictures), batch):
        squares = np.stack([fit_square(picture, 224) for picture in pictures[start : start + batch]])
        with torch.inference_mode():
            network(grey_to_input(torch.from_numpy(squares).float()[:, None] / 255).contiguous()).numpy()


def agreement(pictures: list[np.ndarray]) -> None:
    full, half = (extract_features(pictures, precision=p).array for p in ("fp32", "bf16"))
    lengths = np.linalg.norm(full, axis=1) * np.linalg.norm(half, axis=1)
    cosine = (full * half).sum(axis=1) / lengths
    nearest = [nearest_neighbours(x, x, k=2).rows[:, 1] for x in (full, half)]
    middle = len(pictures) // 2
    distances = [frechet_distance(x[:middle], x[middle:]) for x in (full, half)]
    same = np.mean(nearest[0] == nearest[1])
    print(
        f"\nbf16 against fp32, {len(pictures)} pictures: cosine similarity {cosine.mean():.4f} in the mean, "
        f"{cosine.min():.4f} at worst; the same nearest neighbour for {same:.0%}; "
        f"FD of halves {distances[1]:.2f} instead of {distances[0]:.2f}"
    )


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("cohort", type=Path, nargs="?")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    from monai.networks.nets import EfficientNetBN

    pictures = read(options.cohort, options.images)
    plain = EfficientNetExtractor("lite0", precision="fp32", device="cpu").network
    plain.to(memory_format=torch.contiguous_format)
    b0 = EfficientNetBN("efficientnet-b0", pretrained=False, spatial_dims=2, in_channels=3).eval()
    ours = {
        f"{name}, {precision}": load_extractor(name, precision=precision)
        for name, precision in (
            ("efficientnet-lite0", "bf16"),
            ("efficientnet-lite0", "fp32"),
            ("radiomics", "fp32"),
        )
    }
    runs: dict[str, Callable[[], object]] = {
        name: (lambda e=extractor: extract_features(pictures, e, batch=options.batch))
        for name, extractor in ours.items()
    }
    runs[PEER] = lambda: eager(plain.forward_pooled, pictures, options.batch)
    runs["MONAI's EfficientNet-B0, eager fp32, contiguous"] = lambda: eager(b0, pictures, options.batch)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(options.repeats + 1):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            if repeat:  # the first round warms up
                seconds[name].append(time.perf_counter() - started)
    print(f"{len(pictures)} pictures, batches of {options.batch}, {torch.get_num_threads()} threads\n")
    print(f"| extractor | pictures/s | times {PEER} |\n|---|---|---|")
    for name, values in seconds.items():
        print(
            f"| {name} | {len(pictures) / median(values):.0f} | {median(seconds[PEER]) / median(values):.1f} |"
        )
    agreement(pictures)


if __name__ == "__main__":
    main()
