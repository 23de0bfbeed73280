"""The demo, with a training of seconds in place of minutes."""

from functools import partial
from pathlib import Path

import pytest

from datadouble import demo, recipes
from datadouble.errors import DataDoubleError

SMALL = {
    "coldit": ("model.depth=1", "model.width=64", "model.heads=2"),
    "diffguard": ("model.width=16", "model.head_width=16", "model.multipliers=[1,2]", "filters.use=[]"),
}


@pytest.mark.parametrize("recipe", sorted(SMALL))
def test_the_demo_ends_in_a_report_and_goes_on_when_run_again(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = (*SMALL[recipe], "training.images=256", "training.sheet_every=256")
    monkeypatch.setattr(recipes, "fit", partial(recipes.fit, overrides=small))
    monkeypatch.setattr(demo, "PATIENTS", 36)
    monkeypatch.setattr(demo, "PER_CLASS", 2)
    said: list[str] = []
    report = demo.run_demo(tmp_path / "demo", recipe=recipe, say=said.append)
    assert report == tmp_path / "demo/audit/report.html"
    assert report.stat().st_size > 50_000
    assert sum(line.startswith("[") for line in said) == demo.STEPS

    weights = tmp_path / "demo/run/model/last.safetensors"
    images = sorted((tmp_path / "demo/double/images").iterdir())
    before = [path.stat().st_mtime_ns for path in (weights, *images)]
    (tmp_path / "demo/audit/report.html").unlink()
    assert demo.run_demo(tmp_path / "demo", recipe=recipe).is_file()
    assert [path.stat().st_mtime_ns for path in (weights, *images)] == before


def test_a_recipe_without_a_demo_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataDoubleError, match="has no demo"):
        demo.run_demo(tmp_path / "demo", recipe="gan")
