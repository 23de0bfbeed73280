"""Coverage of every interval of a reader study, and the size of its tests, by simulation with known truth.

    nice -n 10 python benchmarks/study_coverage.py --cache CACHE --out results/study

Each experiment simulates 1,000 studies (some more) and is stored when it is done; the same command goes on where it
was cut off. The simulation's own error is 0.7 points at 95%.
"""

from __future__ import annotations

import ast
import inspect
import json
import time
from pathlib import Path
from typing import Any

import study_simulation
from datadouble import files, stats
from datadouble.progress import track
from datadouble.randomness import generator_for
from datadouble.study.analysis import intervals
from script import parser_of
from study_coverage_plan import MORE, Experiment, experiments
from study_coverage_tables import write


def run(experiment: Experiment, studies: int, seed: int) -> dict[str, Any]:
    """Counts of one experiment."""
    group, name, study = experiment
    rng = generator_for(seed, "study coverage", group, name)
    counts: dict[str, list[int]] = {}
    began = time.perf_counter()
    for _ in range(studies):
        for interval, hit in study(rng):
            entry = counts.setdefault(interval, [0, 0])
            entry[0] += int(hit)
            entry[1] += 1
    return {
        "group": group,
        "scenario": name,
        "counts": counts,
        "studies": studies,
        "seconds": time.perf_counter() - began,
    }


def statements(source: Path) -> str:
    """The code of a file without comments and docstrings: what a stored experiment depends on."""
    tree = ast.parse(source.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                body[0] = ast.Pass()
    return ast.unparse(tree)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="folder of finished experiments")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[""], help="groups that begin so")
    options = parser.parse_args()
    sources = [Path(study_simulation.__file__), *sorted(Path(stats.__file__).parent.glob("*.py"))]
    code = "".join(map(statements, sources))
    found = []
    for experiment in track(
        [e for e in experiments() if e[0].startswith(tuple(options.only))], "simulated studies"
    ):
        study = inspect.getsource(experiment[2].func) + repr(experiment[2].keywords)
        studies = options.studies * MORE.get(experiment[:2], 1)
        used = code
        if experiment[2].func.__module__ == "study_coverage_analysis":
            used += statements(Path(intervals.__file__))
        key = files.fingerprint(*experiment[:2], study, used, str((studies, options.seed)))
        path = options.cache / f"{key}.json"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write_json(path, run(experiment, studies, options.seed))
        found.append(json.loads(path.read_text(encoding="utf-8")))
    write(found, options.out)


if __name__ == "__main__":
    main()
