"""Attacks on weights against networks whose answers are known exactly."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from datadouble.audit.privacy import model_access
from datadouble.audit.privacy.model_access import ProbeSettings, audit_model_access, judge_probes
from datadouble.audit.privacy.model_access_attacks import (
    best_threshold,
    halves,
    picture_statistics,
    quick_auc,
)
from datadouble.audit.privacy.model_access_inference import dataset_inference
from datadouble.audit.privacy.model_access_probes import Probes, run_probes
from datadouble.errors import DataDoubleError

TIMES = (0.1, 0.3, 0.5, 0.7)
SETTINGS = ProbeSettings(times=TIMES, batch=16)


@dataclass
class Variance:
    """A variance-preserving path, alpha = cos, and the best answer to pictures that are standard normal noise."""

    fingerprint: str = "normal"
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    has_unconditional: bool = True
    calls: int = 0
    fails_at: int = -1

    def alpha_sigma(self, time: float) -> tuple[float, float]:
        return float(np.cos(np.pi * time / 2)), float(np.sin(np.pi * time / 2))

    def loss_weight(self, time: float) -> float:
        return 1.0

    def predict_noise(self, noisy: torch.Tensor, time: float, labels: torch.Tensor | None) -> torch.Tensor:
        self.calls += 1
        if self.calls == self.fails_at:
            raise KeyboardInterrupt
        return self.alpha_sigma(time)[1] * noisy  # E[n | x_t] for x_0 ~ N(0, I)


@dataclass
class Memoriser(Variance):
    """The best answer to pictures that are drawn from a finite set: the posterior mean over the set."""

    known: torch.Tensor = field(default_factory=lambda: torch.zeros(1, 1, 4, 4))

    def predict_noise(self, noisy: torch.Tensor, time: float, labels: torch.Tensor | None) -> torch.Tensor:
        alpha, sigma = self.alpha_sigma(time)
        away = ((noisy[:, None] - alpha * self.known[None]) ** 2).flatten(2).sum(2)
        weights = torch.softmax(-away / (2 * sigma**2), dim=1)
        mean = torch.einsum("bk,kchw->bchw", weights, self.known)
        return (noisy - alpha * mean) / sigma


def people(seed: int, patients: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Two pictures of each patient, half of the patients members: latents, labels, members, patients."""
    rng = np.random.default_rng(seed)
    latents = rng.normal(size=(2 * patients, 1, 4, 4)).astype(np.float32)
    codes = np.repeat(np.arange(patients), 2)
    return latents, codes % 2, codes < patients // 2, np.array([f"p{c:03d}" for c in codes])


def test_a_network_that_knows_its_pictures_by_heart_is_caught_by_every_attack_on_the_loss() -> None:
    latents, labels, members, patients = people(0)
    model = Memoriser("memoriser", known=torch.from_numpy(latents[members]))
    found = audit_model_access(
        model, latents, labels, members, patients, class_names=("a", "b"), settings=SETTINGS, repeats=10
    )
    by_name = {attack.name: attack for attack in found.attacks}
    for name in ("loss", "loss_best_time", "loss_given_picture", "pia", "secmi", "all_probes"):
        assert by_name[name].auc.value > 0.9, name
    assert by_name["loss"].auc.value == 1.0
    assert by_name["loss"].advantage.value == 1.0
    assert by_name["loss"].tpr[0].value == 1.0 and not by_name["loss"].tpr[0].resolved
    assert by_name["conditional_gain"].auc.value == 0.5  # it never looks at the class
    assert all(figure.auc.value == 1.0 for figure in by_name["loss"].by_class if figure.auc)
    assert [figure.label for figure in by_name["loss"].by_class] == ["a", "b"]
    assert found.finding == "found"
    assert found.inference.p_value < 1e-6
    assert all(figure.members < figure.others for figure in found.by_time)


def test_a_network_that_knows_only_the_population_gives_nobody_away() -> None:
    """Over many cohorts: AUC a half on average, and the alarm no more often than its level."""
    aucs, alarms, inferred = [], 0, 0
    for seed in range(12):
        latents, labels, members, patients = people(seed)
        found = audit_model_access(
            Variance(),
            latents,
            labels,
            members,
            patients,
            class_names=("a", "b"),
            settings=SETTINGS,
            repeats=5,
        )
        aucs.append([attack.auc.value for attack in found.attacks])
        alarms += found.finding != "not found"
        inferred += found.inference.p_value < 0.05
    means = np.mean(aucs, axis=0)
    assert np.abs(means - 0.5).max() < 0.08  # one AUC's standard deviation is 0.09, divided by the root of 12
    assert alarms <= 2 and inferred <= 2


def test_a_split_that_the_pictures_alone_betray_is_inconclusive() -> None:
    latents, labels, members, patients = people(3, patients=80)
    latents[members] *= 0.7
    found = audit_model_access(
        Variance(), latents, labels, members, patients, class_names=("a", "b"), settings=SETTINGS, repeats=10
    )
    assert found.control.auc.value > 0.8
    assert found.attacks[0].auc.value > 0.8  # the loss is lower for fainter pictures, members or not
    assert found.finding == "inconclusive"
    assert any("the split may be what the attacks see" in reason for reason in found.reasons)
    given = {attack.name: attack.given_picture.value for attack in found.attacks}
    assert given["loss"] < 0.6


def test_the_loss_is_what_theory_says() -> None:
    """E (n - sigma (alpha x + sigma n))^2 = alpha^4 + sigma^2 alpha^2 x^2."""
    latents, labels, *_ = people(1, patients=4)
    model = Variance()
    probes = run_probes(
        model, latents, labels, settings=ProbeSettings(times=(0.4,), draws=3000, kinds=("loss",))
    )
    alpha, sigma = model.alpha_sigma(0.4)
    expected = alpha**4 + sigma**2 * alpha**2 * (latents**2).mean((1, 2, 3))
    assert np.allclose(probes.values["loss"][:, 0], expected, rtol=0.03)


def test_proximal_initialisation_is_what_algebra_says() -> None:
    """With e(x, t) = sigma_t x: e_0 = sigma_s x, and e(alpha x + sigma e_0) - e_0 is a multiple of x."""
    latents, labels, *_ = people(2, patients=4)
    model = Variance()
    probes = run_probes(model, latents, labels, settings=ProbeSettings(times=TIMES, start=0.05))
    start = model.alpha_sigma(0.05)[1]
    norm = (latents.astype(float) ** 4).mean((1, 2, 3)) ** 0.25
    for i, time in enumerate(TIMES):
        alpha, sigma = model.alpha_sigma(time)
        factor = abs(sigma * (alpha + sigma * start) - start)
        assert np.allclose(probes.values["pia"][:, i], factor * norm, rtol=1e-4)


def test_secmi_is_what_algebra_says() -> None:
    """One step from the clean picture: x_0^ = (x - s e) / a, there = A x_0^ + S e, back with the noise seen there."""
    latents, labels, *_ = people(2, patients=4)
    model = Variance()
    probes = run_probes(model, latents, labels, settings=ProbeSettings(times=(0.3,), start=0.05))
    (a, s), (next_a, next_s) = model.alpha_sigma(0.05), model.alpha_sigma(0.3)
    there = next_a * (1 - s * s) / a + next_s * s
    back = a * (there - next_s * next_s * there) / next_a + s * next_s * there
    expected = (back - 1) ** 2 * (latents.astype(float) ** 2).mean((1, 2, 3))
    assert np.allclose(probes.values["secmi"][:, 0], expected, rtol=1e-3)


def test_equal_pictures_get_equal_figures_wherever_they_stand() -> None:
    latents, labels, *_ = people(4, patients=20)
    latents[33], labels[33] = latents[2], labels[2]
    values = run_probes(Variance(), latents, labels, settings=SETTINGS).values
    for table in values.values():
        assert np.allclose(table[33], table[2], rtol=1e-5)


def test_a_reference_takes_the_difficulty_out() -> None:
    """Pictures that differ a lot in difficulty and members that are a little better known."""
    rng = np.random.default_rng(0)
    difficulty = rng.lognormal(0, 1, size=(120, 1))
    members = np.arange(120) < 60
    gain = np.where(members, 0.95, 1.0)[:, None] * rng.lognormal(0, 0.02, size=(120, 4))
    values = {"loss": difficulty * gain, "reference": np.repeat(difficulty, 4, axis=1)}
    found = judge_probes(
        Probes(TIMES, values),
        rng.normal(size=(120, 3)),
        np.zeros(120, dtype=int),
        members,
        np.arange(120),
        class_names=("a",),
        repeats=3,
    )
    by_name = {attack.name: attack.auc.value for attack in found.attacks}
    assert by_name["loss"] < 0.65 < 0.99 < by_name["loss_over_reference"]
    assert by_name["all_probes"] > 0.9 and found.inference.p_value < 1e-3
    assert found.strongest.name in ("loss_over_reference", "all_probes")


def test_a_known_difficulty_of_pictures_is_taken_out_by_regression() -> None:
    rng = np.random.default_rng(1)
    pictures = rng.normal(size=(160, 3))
    members = np.arange(160) < 80
    loss = np.exp(pictures @ [1.0, -0.5, 0.2] - 0.2 * members + rng.normal(0, 0.05, 160))[:, None]
    found = judge_probes(
        Probes((0.5,), {"loss": loss}),
        pictures,
        np.zeros(160, dtype=int),
        members,
        np.arange(160),
        class_names=("a",),
        repeats=3,
    )
    by_name = {attack.name: attack.auc.value for attack in found.attacks}
    assert by_name["loss"] < 0.7 < 0.95 < by_name["loss_given_picture"]


def test_the_best_time_is_never_chosen_on_the_judged_half() -> None:
    """At 30 times of pure noise the best of all would tell a lot; chosen on others it tells nothing."""
    times = tuple(np.linspace(0.05, 0.95, 30))
    chosen, best = [], []
    for seed in range(16):
        rng = np.random.default_rng(seed)
        members = np.arange(40) < 20
        loss = rng.lognormal(size=(40, 30))
        found = judge_probes(
            Probes(times, {"loss": loss}),
            rng.normal(size=(40, 2)),
            np.zeros(40, dtype=int),
            members,
            np.arange(40),
            class_names=("a",),
            repeats=2,
        )
        chosen.append(next(a for a in found.attacks if a.name == "loss_best_time").auc.value)
        best.append(max(figure.auc.value for figure in found.by_time))
    assert np.mean(best) > 0.65
    assert abs(np.mean(chosen) - 0.5) < 0.06


def test_a_cut_off_measurement_goes_on(tmp_path: Path) -> None:
    latents, labels, *_ = people(5)
    whole = run_probes(Variance(), latents, labels, settings=SETTINGS)
    cut = Variance(fails_at=60)
    with pytest.raises(KeyboardInterrupt):
        run_probes(cut, latents, labels, settings=SETTINGS, cache_dir=tmp_path)
    said: list[str] = []
    again = Variance()
    found = run_probes(again, latents, labels, settings=SETTINGS, cache_dir=tmp_path, say=said.append)
    assert all(np.array_equal(found.values[kind], whole.values[kind]) for kind in whole.values)
    passes = SETTINGS.passes(tuple(whole.values))
    assert passes == 4 * 4 + 1  # loss, unconditional, pia, secmi, and the first look at the clean picture
    assert again.calls == 2 + 2 * passes  # three of five batches were there; two calls measured the speed
    assert f"80 pictures, {passes} passes" in said[0]
    third = Variance()
    run_probes(third, latents, labels, settings=SETTINGS, cache_dir=tmp_path, say=said.append)
    assert third.calls == 0 and len(said) == 1
    run_probes(Variance(fingerprint="other"), latents, labels, settings=SETTINGS, cache_dir=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_gradient_is_asked_only_of_those_who_can_give_it() -> None:
    @dataclass
    class White(Variance):
        def gradient_norms(
            self, noisy: torch.Tensor, time: float, labels: torch.Tensor, noise: torch.Tensor
        ) -> torch.Tensor:
            return labels.float() + time

    latents, labels, *_ = people(5)
    settings = ProbeSettings(times=TIMES, kinds=("loss", "gradient"))
    assert set(run_probes(Variance(), latents, labels, settings=settings).values) == {"loss"}
    asked = run_probes(White(), latents, labels, settings=settings).values["gradient"]
    assert np.allclose(asked, labels[:, None] + np.array(TIMES))


def test_what_is_written_is_json_and_names_nobody() -> None:
    latents, labels, members, patients = people(6)
    found = audit_model_access(
        Variance(), latents, labels, members, patients, class_names=("a", "b"), settings=SETTINGS, repeats=3
    )
    text = json.dumps(found.to_json(), allow_nan=False)
    assert "p000" not in text
    values = json.loads(text)
    assert values["member_patients"] == 20 and values["other_pictures"] == 40
    assert values["attacker"] == model_access.ATTACKER
    assert {"value", "low", "high", "n"} <= set(values["attacks"][0]["auc"])


def test_a_patient_on_both_sides_and_too_few_patients_are_refused() -> None:
    latents, labels, members, patients = people(7)
    moved = members.copy()
    moved[0] = False
    with pytest.raises(DataDoubleError, match="both sides"):
        audit_model_access(
            Variance(), latents, labels, moved, patients, class_names=("a", "b"), settings=SETTINGS
        )
    few = slice(34, 46)
    with pytest.raises(DataDoubleError, match="8 patients"):
        audit_model_access(
            Variance(), latents[few], labels[few], members[few], patients[few], class_names=("a", "b")
        )


@pytest.mark.parametrize(
    "wrong",
    [{"times": (0.5, 0.4)}, {"times": (0.01,)}, {"kinds": ("pia",)}, {"kinds": ("loss", "x")}, {"draws": 0}],
)
def test_wrong_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(DataDoubleError):
        ProbeSettings(**wrong)


def test_the_advantage_has_newcombes_interval() -> None:
    """His example: 56 of 70 against 48 of 80, difference 0.2, method 10 (0.0524, 0.3339)."""
    accused = np.r_[np.arange(70) < 56, np.arange(80) < 48]
    members = np.arange(150) < 70
    found = model_access._advantage(accused, members)
    assert (round(found.value, 4), round(found.low, 4), round(found.high, 4)) == (0.2, 0.0524, 0.3339)


def test_the_threshold_by_hand() -> None:
    members = np.array([True, True, False, True, False, False])
    scores = np.array([9.0, 8.0, 7.0, 6.0, 5.0, 4.0])
    assert best_threshold(members, scores) == 7.5  # 2/3 - 0, as good as 3/3 - 1/3, and met first
    assert best_threshold(members, np.ones(6)) == 1.0


def test_the_quick_auc_is_sklearns() -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    members, scores = rng.random(50) < 0.4, rng.integers(0, 9, 50).astype(float)
    assert quick_auc(members, scores) == pytest.approx(roc_auc_score(members, scores))


def test_halves_are_even_in_every_class_on_both_sides() -> None:
    members, strata = np.arange(60) < 40, np.arange(60) % 4
    half = halves(members, strata, 0)
    for side in (True, False):
        for label in range(4):
            count = half[(members == side) & (strata == label)]
            assert abs(int(count.sum()) * 2 - len(count)) <= 1
    assert not np.array_equal(half, halves(members, strata, 1))


def test_picture_statistics_by_hand() -> None:
    picture = np.array([[[[1.0, -1.0], [1.0, -1.0]]]])
    mean, log_std, log_steps, log_kurtosis = picture_statistics(picture)[0]
    assert (mean, round(log_std, 6), round(log_kurtosis, 6)) == (0.0, 0.0, 0.0)
    assert log_steps == pytest.approx(np.log(4.0))


def test_dataset_inference_grows_with_the_number_of_patients() -> None:
    """Four features, each half a standard deviation higher in members: d' = 1 for the best scorer."""
    rng = np.random.default_rng(0)
    members = np.arange(400) < 200
    found = dataset_inference(rng.normal(size=(400, 4)) + 0.5 * members[:, None], members, repeats=20)
    values = [point.p_value for point in found.curve]
    assert [point.patients for point in found.curve] == [5, 10, 20, 40, 80]
    assert values == sorted(values, reverse=True)
    assert found.p_value < 1e-6 and found.curve[-1].detected == 1.0
    assert 0.7 < found.effect < 1.2


def test_dataset_inference_is_silent_about_nothing() -> None:
    """At most one in twenty below 0.05 where members and others are alike."""
    members = np.arange(60) < 30
    values = [
        dataset_inference(np.random.default_rng(i).normal(size=(60, 6)), members, repeats=11, seed=i).p_value
        for i in range(20)
    ]
    assert np.mean(np.array(values) < 0.05) <= 0.05
