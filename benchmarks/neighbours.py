"""Exhaustive nearest neighbours by cosine similarity: seconds and peak memory, beside scikit-learn's brute force.

    python benchmarks/neighbours.py [--sizes 10000 40000] [--peer-sizes 10000] [--dimension 1280]

As many queries as gallery vectors. Each measurement is a process of its own; its memory is the peak over the run
less that before it, when both sets were there already. scikit-learn twice: with its cosine metric, and, what is
faster, with the Euclidean one on vectors of unit length, which orders them alike.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np

from script import parser_of

METHODS = {
    "ours": "ours",
    "ours-5": "ours, 5 neighbours",
    "cosine": "scikit-learn, brute force, cosine",
    "unit": "scikit-learn, brute force, unit vectors",
}


def peak() -> int:
    """Return the peak memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def search(method: str, queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Return the row of the nearest gallery vector of each query."""
    if method.startswith("ours"):
        from datadouble.audit.privacy import nearest_neighbours

        return nearest_neighbours(queries, gallery, k=5 if method == "ours-5" else 1).rows[:, 0]
    from sklearn.neighbors import NearestNeighbors

    if method == "unit":
        queries, gallery = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, gallery))
    metric = "cosine" if method == "cosine" else "euclidean"
    fitted = NearestNeighbors(n_neighbors=1, algorithm="brute", metric=metric).fit(gallery)
    return fitted.kneighbors(queries, return_distance=False)[:, 0]


def measure(method: str, size: int, dimension: int) -> None:
    rng = np.random.default_rng(0)
    gallery = rng.standard_normal((size, dimension), dtype=np.float32)
    queries = rng.standard_normal((size, dimension), dtype=np.float32)
    search(method, queries[:64], gallery[:64])  # imports, threads
    before, started = peak(), time.perf_counter()
    rows = search(method, queries, gallery)
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "memory": peak() - before, "rows": rows[:200].tolist()}))


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 40_000])
    parser.add_argument("--peer-sizes", type=int, nargs="*", default=[10_000])
    parser.add_argument("--dimension", type=int, default=1280)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        measure(options.child[0], int(options.child[1]), options.dimension)
        return
    print(f"{options.dimension} dimensions\n")
    print(
        "| method | queries x gallery | seconds | times scikit-learn's cosine | memory beyond the vectors, MiB |"
    )
    print("|---|---|---|---|---|")
    for size in options.sizes:
        with_peers = size in options.peer_sizes
        found = {}
        for method in METHODS if with_peers else ("ours", "ours-5"):
            words = [
                sys.executable,
                __file__,
                "--dimension",
                str(options.dimension),
                "--child",
                method,
                str(size),
            ]
            output = subprocess.run(words, check=True, capture_output=True, text=True).stdout
            found[method] = json.loads(output.splitlines()[-1])
        for method, result in found.items():
            ratio = f"{found['cosine']['seconds'] / result['seconds']:.1f}" if with_peers else "-"
            print(
                f"| {METHODS[method]} | {size} x {size} | {result['seconds']:.1f} | {ratio} | {result['memory']} |",
                flush=True,
            )
        if any(result["rows"] != found["ours"]["rows"] for result in found.values()):
            sys.exit("the methods disagree")


if __name__ == "__main__":
    main()
