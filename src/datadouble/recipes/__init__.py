"""Recipes: how a generator is built, trained and drawn from.

Each recipe is one module with `CONFIG` (its configuration's dataclass), `fit_run` and `load_generator`.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datadouble.errors import DataDoubleError, suggest

if TYPE_CHECKING:
    from datadouble.cohort import Cohort

RECIPES = {
    "coldit": "datadouble.recipes.coldit",
    "diffguard": "datadouble.recipes.diffguard",
    "lesion": "datadouble.recipes.lesion",
    "augment": "datadouble.recipes.augment",
    "asyndgan": "datadouble.recipes.asyndgan",
}


def _silent(_: str) -> None:
    """Say nothing."""


def recipe_module(name: str) -> Any:
    """Return the module of a recipe.

    Raises
    ------
    DataDoubleError
        When there is none of that name.
    """
    if name not in RECIPES:
        raise DataDoubleError(
            f"there is no recipe '{name}'", where="fit", remedy=suggest(name, list(RECIPES))
        )
    return import_module(RECIPES[name])


def fit(
    recipe: str,
    cohort: Path | str,
    run: Path | str,
    *,
    preset: str = "",
    overrides: Sequence[str] = (),
    dry_run: bool = False,
    stages: Sequence[str] = (),
    say: Callable[[str], None] = _silent,
) -> Path:
    """Train a generator on a cohort's train split, or go on where an earlier call was cut off.

    Parameters
    ----------
    recipe
        ``"coldit"``, ``"diffguard"`` or ``"lesion"``, or a baseline: ``"augment"`` or ``"asyndgan"``.
    cohort
        Folder of the cohort. A real one needs splits; of a synthetic one without splits every image is taken.
    run
        Folder to train in. The same call again continues.
    preset
        Name of a preset; empty for the recipe's default on a new run, and for the run's own on an old one.
    overrides
        ``"section.key=value"``, each.
    dry_run
        Say what would be done and what it would cost, and write nothing.
    stages
        Of recipe ``"lesion"``: which of its stages to train now; empty for all.
    say
        Gets a line of text for the user now and then.

    Returns
    -------
    pathlib.Path
        The run.

    Raises
    ------
    DataDoubleError
        On a wrong configuration, an unfit cohort, or a run folder that holds something else.
    """
    from datadouble.cohort import Cohort
    from datadouble.recipes.runs import resolve_config

    module = recipe_module(recipe)
    config = resolve_config(Path(run), recipe, module.CONFIG, preset or "", overrides)
    if not stages:
        module.fit_run(config, Cohort.open(cohort), Path(run), dry_run=dry_run, say=say)
        return Path(run)
    _only_lesion(recipe, "--stage")
    module.fit_run(config, Cohort.open(cohort), Path(run), dry_run=dry_run, say=say, stages=stages)
    return Path(run)


def _only_lesion(recipe: str, option: str) -> None:
    """Refuse an option that only recipe lesion has."""
    if recipe != "lesion":
        raise DataDoubleError(
            f"recipe {recipe} has no stages",
            where=option,
            remedy="leave the option out, or use recipe lesion",
        )


def generate(
    run: Path | str,
    double: Path | str,
    *,
    images: int = 0,
    per_class: int = 0,
    steps: int = 0,
    guidance_weight: float | None = None,
    sampler: str = "",
    checkpoint: str = "best",
    seed: int = 0,
    batch: int = 0,
    autoguidance: bool = False,
    backgrounds: Path | str | None = None,
    without: Sequence[str] = (),
    overwrite: bool = False,
    say: Callable[[str], None] = _silent,
) -> "Cohort":
    """Draw a double from a trained run, or go on where an earlier call was cut off.

    Parameters
    ----------
    images
        How many in all, in the classes' shares of the training set.
    per_class
        How many of each class, instead of `images`.
    steps, guidance_weight, sampler
        In place of the run's own; see the section ``[sampling]`` of its config.toml.
    checkpoint
        ``"best"`` by held-out loss, or ``"last"``.
    batch
        Images drawn at a time; 0 for the run's own. Part of what makes an image: the last bits of a matrix
        product depend on it.
    autoguidance
        Guide against the run's early checkpoint instead of the network without a class.
    backgrounds
        Of recipe ``"lesion"``, which needs it: the cohort whose healthy scans the lesions are drawn into. On a
        synthetic one the double can be released; on a real one it holds patients' pixels and says so.
    without
        Of recipe ``"lesion"``: stages to leave out, ``"placement"``, ``"repair"`` or ``"verify"``.

    Returns
    -------
    Cohort
        The double.

    Raises
    ------
    DataDoubleError
        When the run is not finished, or `double` holds something else.
    """
    from datadouble.recipes.doubles import Drawing, write_double
    from datadouble.recipes.runs import read_recipe

    recipe = read_recipe(Path(run))
    module, more = recipe_module(recipe), {}
    if backgrounds is not None or without:
        _only_lesion(recipe, "--backgrounds" if backgrounds is not None else "--without")
        more = {"backgrounds": None if backgrounds is None else Path(backgrounds), "without": tuple(without)}
    generator = module.load_generator(
        Path(run),
        checkpoint=checkpoint,
        steps=steps,
        guidance_weight=guidance_weight,
        sampler=sampler,
        autoguidance=autoguidance,
        **more,
    )
    drawing = Drawing(images=images, per_class=per_class, seed=seed, batch=batch)
    return write_double(generator, drawing, Path(double), overwrite=overwrite, say=say)
