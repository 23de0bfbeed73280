"""The demo, with a training of seconds in place of minutes."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from datadouble import demo, recipes
from datadouble.errors import DataDoubleError
from datadouble.recipes.lesion import lesion_drawer
from datadouble.recipes.lesion.crops import LesionPatch

SMALL = {
    "coldit": ("model.depth=1", "model.width=64", "model.heads=2"),
    "diffguard": ("model.width=16", "model.head_width=16", "model.multipliers=[1,2]", "filters.use=[]"),
    "lesion": (
        "lesion.images=64",
        "lesion.sheet_every=64",
        "lesion.tune_images=32",
        "lesion.depth=1",
        "lesion.detail=8",
        "placement.images=64",
        "repair.images=64",
        "repair.seam_images=32",
        "verify.use=[]",
        "sampling.steps=2",
    ),
}

WEIGHTS = {"lesion": "run/lesion/model/last.safetensors"}


def patches_with_discs(drawn: torch.Tensor) -> list[LesionPatch]:
    """So short a training draws noise: in the place of its lesions, discs."""
    y, x = np.mgrid[: drawn.shape[-2], : drawn.shape[-1]] - (drawn.shape[-1] - 1) / 2
    mask = x**2 + y**2 < (drawn.shape[-1] / 4) ** 2
    grey = ((drawn[:, 0].clamp(-1, 1) + 1) * 60).to(torch.uint8).numpy()
    return [LesionPatch(np.where(mask, image // 2, image), mask, 2.0) for image in grey]


@pytest.mark.parametrize("recipe", sorted(SMALL))
def test_the_demo_ends_in_a_report_and_goes_on_when_run_again(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = SMALL[recipe]
    if recipe == "lesion":
        monkeypatch.setattr(lesion_drawer, "patches_of", patches_with_discs)
    else:
        small = (*small, "training.images=256", "training.sheet_every=256")
    monkeypatch.setattr(recipes, "fit", partial(recipes.fit, overrides=small))
    monkeypatch.setattr(demo, "PATIENTS", 36)
    monkeypatch.setitem(demo.SHOWS, recipe, demo.SHOWS[recipe]._replace(per_class=2))
    said: list[str] = []
    report = demo.run_demo(tmp_path / "demo", recipe=recipe, say=said.append)
    assert report == tmp_path / "demo/audit/report.html"
    assert report.stat().st_size > 50_000
    assert sum(line.startswith("[") for line in said) == demo.STEPS

    weights = tmp_path / "demo" / WEIGHTS.get(recipe, "run/model/last.safetensors")
    images = sorted((tmp_path / "demo/double/images").iterdir())
    before = [path.stat().st_mtime_ns for path in (weights, *images)]
    (tmp_path / "demo/audit/report.html").unlink()
    assert demo.run_demo(tmp_path / "demo", recipe=recipe).is_file()
    assert [path.stat().st_mtime_ns for path in (weights, *images)] == before


def test_a_recipe_without_a_demo_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataDoubleError, match="has no demo"):
        demo.run_demo(tmp_path / "demo", recipe="gan")
