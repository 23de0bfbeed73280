"""CoLDiT under differential privacy, in small: the budget follows the double, and what no budget covers is refused."""

import json
from pathlib import Path

import pytest

from datadouble.cohort import Cohort
from datadouble.errors import DataDoubleError
from datadouble.recipes import fit, generate
from datadouble.training.privacy import options as module
from datadouble.training.privacy.options import PrivacyPlan

PRIVATE = ("privacy.epsilon=8", "privacy.patients_per_step=4", "privacy.draws=2", "training.images=32")


@pytest.fixture(autouse=True)
def quick_accounting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The accountants are tested elsewhere."""
    monkeypatch.setattr(module, "noise_multiplier_for", lambda *_, **__: 0.7)
    monkeypatch.setattr(module, "epsilon_of", lambda *_, **__: 7.9)
    monkeypatch.setattr(module, "epsilon_by_pld", lambda *_, **__: 7.89)
    monkeypatch.setattr(PrivacyPlan, "spent", lambda plan, steps: plan.epsilon)


def test_the_budget_is_said_wherever_the_run_is_read(cohort: Cohort, tmp_path: Path, tiny: list[str]) -> None:
    lines: list[str] = []
    run = fit("coldit", cohort.path, tmp_path / "run", overrides=[*tiny, *PRIVATE], say=lines.append)
    assert any("private by patient: epsilon 8.000" in line for line in lines)
    model = json.loads((run / "model" / "model.json").read_text())
    provenance = json.loads((run / "provenance.json").read_text())
    double = generate(run, tmp_path / "double", images=4)
    assert double.info.generator is not None
    for facts in (model["privacy"], provenance["privacy"], double.info.generator["privacy"]):
        assert facts["epsilon"] == pytest.approx(8.0) and facts["unit"] == "patient"
        assert facts["patients"] == 14 and facts["delta"] == pytest.approx(1 / 140)
        assert any("class shares: Laplace noise" in line for line in facts["declared"])
    assert model["scale"]["std"] == [0.353]  # a constant, not this cohort's
    secret = json.loads((run / "state" / "private.json").read_text())["secret"]
    told = [
        p for p in run.rglob("*") if p.suffix in (".json", ".jsonl", ".toml") and p.parent.name != "state"
    ]
    assert not [p for p in told if secret in p.read_text()]
    assert "loss" not in (run / "metrics.jsonl").read_text()
    # Begun again with adapters on this run's weights: the plain network comes out.
    adapted = [*tiny, *PRIVATE, "privacy.trainable=lora", "privacy.rank=2", f"privacy.start={run}"]
    second = fit("coldit", cohort.path, tmp_path / "second", overrides=adapted)
    assert len(generate(second, tmp_path / "drawn", images=2)) == 2


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["privacy.epsilon=8", "data.encoder=own"], "trained on the cohort"),
        (["privacy.clip=2"], "would not be private"),
        (["privacy.epsilon=-1", "privacy.patients_per_step=4"], "no noise can reach"),
        (["privacy.epsilon=8", "privacy.trainable=lora"], "random initial weights"),
        (["privacy.epsilon=8", "privacy.patients_per_step=400"], "cannot take that many"),
    ],
)
def test_what_no_budget_covers_is_refused(
    cohort: Cohort, tmp_path: Path, tiny: list[str], overrides: list[str], words: str
) -> None:
    with pytest.raises(DataDoubleError, match=words):
        fit("coldit", cohort.path, tmp_path / "run", overrides=[*tiny, *overrides])


def test_an_encoder_that_has_seen_the_pictures_is_refused_or_declared(
    cohort: Cohort, tmp_path: Path, tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from datadouble.recipes import private

    monkeypatch.setattr(private, "seen_images", lambda cohort: set(cohort.table["image_id"][:3]))
    overrides = [*tiny, *PRIVATE, "data.encoder=tiny-4", "model.patch=2"]
    with pytest.raises(DataDoubleError, match="no budget covers"):
        fit("coldit", cohort.path, tmp_path / "run", overrides=overrides)
    run = fit("coldit", cohort.path, tmp_path / "run", overrides=[*overrides, "privacy.accept_encoder=true"])
    declared = json.loads((run / "model" / "model.json").read_text())["privacy"]["declared"]
    assert any("not covered: the encoder tiny-4 was trained on 3" in line for line in declared)
