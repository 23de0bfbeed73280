"""A reader study on real scans and their double, answered by simulated readers: what an analysis looks like.

    python benchmarks/study_real.py REAL DOUBLE WORK --out results/study/simulated-readers

The readers are scripts whose ability is set here: nothing in the result says how real the double looks to anybody.
"""

import argparse
import dataclasses
import json
import time
from pathlib import Path

from datadouble.cohort import Cohort
from datadouble.study.analysis import analyse_study
from datadouble.study.create import create_study
from datadouble.study.protocol import read_protocol, with_counts
from datadouble.study.simulate import panel, simulate_answers

DPRIME = (0.0, 0.5)  # of juniors and seniors
SHARED = ("tables.md", "study-evidence.json", "readers.csv")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("real", type=Path)
    parser.add_argument("double", type=Path)
    parser.add_argument("work", type=Path, help="for the study itself: it holds real scans and stays here")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=140, help="of each origin")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began = time.monotonic()
    protocol = with_counts(read_protocol("coldit-1"), real=options.images, synthetic=options.images)
    # No scan that the generator learnt from, at the price of equal class shares.
    protocol = dataclasses.replace(protocol, splits=("test", "holdout"))
    study = options.work / "study"
    create_study(
        protocol, Cohort.open(options.real), Cohort.open(options.double), study, seed=options.seed, say=print
    )
    readers = panel(dprime=DPRIME)
    count = simulate_answers(study, readers, seed=options.seed)
    print(f"{count} images judged, {time.monotonic() - began:.0f} s")
    analysis = options.work / "analysis"
    evidence = analyse_study(study, analysis, seed=options.seed)
    (options.out / "plots").mkdir(parents=True, exist_ok=True)
    for path in [*(analysis / name for name in SHARED), *(analysis / "plots").glob("*.svg")]:
        target = options.out / path.relative_to(analysis)
        target.write_bytes(path.read_bytes())
    known = {f"R{number}": one.dprime for number, one in enumerate(readers, start=1)}
    (options.out / "known-dprime.json").write_text(json.dumps(known, indent=2) + "\n")
    print(f"{len(evidence['tasks'])} tasks, {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
