"""Frechet distance by singular values of the low-rank product against the usual `scipy.linalg.sqrtm`, on equal
features.

    python benchmarks/frechet.py [--dimension 2048] [--images 500] [--repeats 3]

Features: correlated, positive and of falling variance, as those of a network after its last ReLU. The peer is the
formula of the FID paper's code: `sqrtm` of the product of both covariances. With fewer pictures than dimensions that
product is singular, and `sqrtm` itself loses digits (the more, the faster the variances fall). The third row takes
the same trace from eigenvalues of the small side: another way that loses digits elsewhere.
"""

import time
from collections.abc import Callable
from statistics import median

import numpy as np
import scipy.linalg

from datadouble.audit.fidelity.frechet import frechet_distance
from datadouble.randomness import generator_for
from script import parser_of


def features(images: int, dimension: int, seed: int) -> np.ndarray:
    """Return (images, dimension) features with a decaying spectrum, never negative."""
    rng = generator_for(seed, "features")
    mixing = generator_for(0, "mixing").normal(size=(dimension, dimension)) / np.sqrt(dimension)
    scale = (1.0 + np.arange(dimension)) ** -0.35
    return np.maximum(rng.normal(size=(images, dimension)) * scale @ mixing * 5 + 0.3 + 0.02 * seed, 0)


def by_matrix_root(x: np.ndarray, y: np.ndarray) -> float:
    """Return the distance as the FID paper's code computes it."""
    first, second = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(first @ second)
    means = np.square(x.mean(axis=0) - y.mean(axis=0)).sum()
    return float(means + np.trace(first) + np.trace(second) - 2 * np.trace(root).real)


def by_eigenvalues(x: np.ndarray, y: np.ndarray) -> float:
    """Return the distance from the eigenvalues of R_1 S_2 R_1^T, which is images x images."""
    first, second = (z - z.mean(axis=0) for z in (x, y))
    first, second = first / np.sqrt(len(x) - 1), second / np.sqrt(len(y) - 1)
    cross = first @ second.T
    roots = np.sqrt(np.clip(np.linalg.eigvalsh(cross @ cross.T), 0, None)).sum()
    means = np.square(x.mean(axis=0) - y.mean(axis=0)).sum()
    return float(means + np.square(first).sum() + np.square(second).sum() - 2 * roots)


Distance = Callable[[np.ndarray, np.ndarray], float]


def timed(distance: Distance, x: np.ndarray, y: np.ndarray, repeats: int) -> tuple[float, float]:
    """Return the value and the median seconds."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        value = distance(x, y)
        seconds.append(time.perf_counter() - started)
    return value, median(seconds)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--dimension", type=int, default=2048)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    x, y = (features(options.images, options.dimension, seed) for seed in (1, 2))
    frechet_distance(x[:50], y[:50])  # starts the threads of the linear algebra
    ours, our_seconds = timed(frechet_distance, x, y, options.repeats)
    root, root_seconds = timed(by_matrix_root, x, y, 1)
    eigen, eigen_seconds = timed(by_eigenvalues, x, y, options.repeats)
    print(f"{options.dimension} dimensions, {options.images} pictures on each side\n")
    print("| method | seconds | times scipy.linalg.sqrtm | distance | relative difference to ours |")
    print("|---|---|---|---|---|")
    for name, value, seconds in (
        ("ours (singular values)", ours, our_seconds),
        ("scipy.linalg.sqrtm", root, root_seconds),
        ("eigenvalues, small side", eigen, eigen_seconds),
    ):
        print(
            f"| {name} | {seconds:.3f} | {root_seconds / seconds:.0f} | {value:.8f} | {abs(value / ours - 1):.1e} |"
        )


if __name__ == "__main__":
    main()
