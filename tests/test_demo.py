"""The demo, with a training of seconds in place of minutes."""

from functools import partial
from pathlib import Path

import pytest

from datadouble import demo, recipes


def test_the_demo_ends_in_a_report_and_goes_on_when_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = (
        "model.depth=1",
        "model.width=64",
        "model.heads=2",
        "training.images=256",
        "training.sheet_every=256",
    )
    monkeypatch.setattr(recipes, "fit", partial(recipes.fit, overrides=small))
    monkeypatch.setattr(demo, "PATIENTS", 30)
    monkeypatch.setattr(demo, "PER_CLASS", 2)
    said: list[str] = []
    report = demo.run_demo(tmp_path / "demo", say=said.append)
    assert report == tmp_path / "demo/audit/report.html"
    assert report.stat().st_size > 50_000
    assert sum(line.startswith("[") for line in said) == demo.STEPS

    weights = tmp_path / "demo/run/model/last.safetensors"
    images = sorted((tmp_path / "demo/double/images").iterdir())
    before = [path.stat().st_mtime_ns for path in (weights, *images)]
    (tmp_path / "demo/audit/report.html").unlink()
    assert demo.run_demo(tmp_path / "demo").is_file()
    assert [path.stat().st_mtime_ns for path in (weights, *images)] == before
