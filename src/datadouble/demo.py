"""The whole way on simulated scans: cohort, check, split, fit, generate, audit."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from datadouble.errors import DataDoubleError, suggest

PATIENTS = 200
STEPS = 5


class Show(NamedTuple):
    """What a recipe is shown on: a kind of simulated scans, in words, the recipe's name in print, pictures drawn."""

    kind: str
    scans: str
    name: str
    per_class: int


SHOWS = {
    "coldit": Show("breast-ultrasound", "breast ultrasound scans: normal, and BI-RADS 2 to 5", "CoLDiT", 40),
    "diffguard": Show("chest-ct", "chest CT slices: normal, and five types of tumour", "DiffGuard", 40),
    "lesion": Show(
        "breast-lesions",
        "breast ultrasound scans: normal, benign and malignant",
        "three stages of lesion synthesis",
        50,  # of three classes: below 149 in all, the audit cannot exclude that one in fifty is a copy
    ),
}
HEALTHY_SEED = 1  # of the healthy scans that stand for another generator's double


def run_demo(out: Path | str, *, recipe: str = "coldit", say: Callable[[str], None] = lambda _: None) -> Path:
    """Run the demo in the folder `out`, or go on where an earlier call was cut off.

    Parameters
    ----------
    recipe
        ``"coldit"``, ``"diffguard"``, which draws pictures with masks, or ``"lesion"``, which draws lesions into
        healthy scans.
    say
        Gets a line of text for the user now and then.

    Returns
    -------
    pathlib.Path
        The report, an HTML file.

    Raises
    ------
    DataDoubleError
        When `out` holds something else, the simulated cohort has an error, or the recipe has no demo.
    """
    if recipe not in SHOWS:
        raise DataDoubleError(
            f"recipe '{recipe}' has no demo", where="--recipe", remedy=suggest(recipe, list(SHOWS))
        )
    show = SHOWS[recipe]
    from datadouble import recipes
    from datadouble.audit.audit import audit
    from datadouble.cohort import Cohort
    from datadouble.cohort.phantom.cohort import make_phantom_cohort
    from datadouble.cohort.split import split_cohort

    out = Path(out)
    cohort, run, double, judged = (out / name for name in ("cohort", "run", "double", "audit"))
    began = time.monotonic()

    def step(number: int, text: str) -> None:
        say(f"[{number}/{STEPS}, {time.monotonic() - began:.0f} s] {text}")

    step(1, f"simulating {show.scans}")
    if not (cohort / "cohort.json").is_file():
        make_phantom_cohort(cohort, kind=show.kind, patients=PATIENTS)
    step(2, "checking the cohort and splitting its patients")
    _refuse_errors(cohort)
    split_cohort(cohort)
    step(3, f"training {show.name} on the train split")
    recipes.fit(recipe, cohort, run, preset="demo", say=say)
    step(4, "drawing the double")
    if recipe == "lesion":
        healthy = _healthy_scans(out / "healthy", show)
        recipes.generate(run, double, per_class=show.per_class, backgrounds=healthy, say=say)
    else:
        recipes.generate(run, double, per_class=show.per_class, say=say)
    step(5, "auditing the double: copies and an overfitted double are planted to show that it can fail")
    evidence = audit(Cohort.open(double), Cohort.open(cohort), judged, run=run, effort="demo")
    say(f"verdict: {evidence.verdict}. {' '.join(evidence.reasons)}")
    say(f"done in {time.monotonic() - began:.0f} s")
    return judged / "report.html"


def _healthy_scans(path: Path, show: Show) -> Path:
    """Simulate healthy scans of other patients; they stand for the healthy class of a CoLDiT double."""
    from datadouble import files
    from datadouble.cohort import Cohort
    from datadouble.cohort.phantom.cohort import make_phantom_cohort

    if not (path / "cohort.json").is_file():
        make_phantom_cohort(
            path, kind=show.kind, patients=show.per_class, seed=HEALTHY_SEED, classes=("normal",)
        )
    info = Cohort.open(path).info
    if info.origin != "synthetic":
        files.write_json(path / "cohort.json", replace(info, origin="synthetic").to_json())
    return path


def _refuse_errors(cohort: Path) -> None:
    from datadouble.cohort.check import check

    errors = [problem for problem in check(cohort) if problem.severity == "error"]
    if errors:
        raise DataDoubleError(
            "the simulated cohort has errors", where=cohort.name, found="; ".join(map(str, errors[:5]))
        )
