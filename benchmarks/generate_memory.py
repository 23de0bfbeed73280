"""Peak memory of `datadouble generate` over the number of images: it should not grow.

    python benchmarks/generate_memory.py RUN [--counts 100 1000 10000] [--steps 4]

Each count is a process of its own. Few steps serve: the number of steps changes the time, not the memory.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from script import parser_of


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--counts", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        from datadouble.recipes import generate

        with tempfile.TemporaryDirectory() as folder:
            generate(options.run, Path(folder) / "double", images=options.child, steps=options.steps)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
        return
    print("| images | peak memory, MiB | seconds |\n|---|---|---|")
    for count in options.counts:
        words = [
            sys.executable,
            __file__,
            str(options.run),
            "--steps",
            str(options.steps),
            "--child",
            str(count),
        ]
        started = time.perf_counter()
        peak = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()[-1]
        print(f"| {count} | {peak} | {time.perf_counter() - started:.0f} |", flush=True)


if __name__ == "__main__":
    main()
