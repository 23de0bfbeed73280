import numpy as np
import pytest

from datadouble.audit.controls import run_controls
from datadouble.audit.evidence import plain
from datadouble.audit.privacy.copy_threshold import CopyScores
from datadouble.audit.privacy.gate import GateResult

KINDS = ("copies", "flips")


class Stub:
    """A gate that knows the training pictures by heart, or is blind, or cries at everything."""

    def __init__(self, train: np.ndarray, *, blind: bool = False, nervous: bool = False) -> None:
        self.train, self.blind, self.nervous = train, blind, nervous
        self._known = {p.tobytes() for t in train for p in (t, np.ascontiguousarray(t[:, ::-1]))}

    def check_copies(self, pictures: np.ndarray) -> GateResult:
        hit = np.array([p.tobytes() in self._known for p in pictures]) & (not self.blind)
        reasons = ("copies",) if hit.any() or self.nervous else ()
        scores = CopyScores(hit.astype(float), np.zeros(len(hit), int), 1.0 - hit)
        return GateResult(bool(reasons), reasons, np.flatnonzero(hit), scores, None)

    def check_membership(self, pictures: np.ndarray) -> GateResult:
        near = [min(float(np.abs(p.astype(int) - t).mean()) for t in self.train) for p in pictures]
        alarm = (not self.blind and float(np.median(near)) < 40) or self.nervous
        return GateResult(
            alarm, ("members",) if alarm else (), np.zeros(0, int), None, None, {"p_value": 0.5}
        )

    def __call__(self, pictures: np.ndarray) -> GateResult:
        both = self.check_copies(pictures), self.check_membership(pictures)
        return GateResult(
            any(b.alarm for b in both), both[0].reasons + both[1].reasons, both[0].copies, None, None
        )


@pytest.fixture(scope="module")
def pictures() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return tuple(rng.integers(0, 256, (n, 32, 32), dtype=np.uint8) // 16 * 16 for n in (12, 60, 20))  # type: ignore[return-value]


def test_a_good_gate_passes_its_controls(pictures: tuple[np.ndarray, ...]) -> None:
    _, double, unseen = pictures
    smooth = np.stack([np.full((32, 32), 20 * i, np.uint8) for i in range(12)])
    gate = Stub(smooth)
    found = run_controls(double, gate, unseen, kinds=KINDS, seed=1)  # type: ignore[arg-type]
    told = found.to_json()
    assert found.ok and told["caught_planted"] and told["caught_overfitted"] and told["passed_clean"]
    # 0.1% and 1% of 60 pictures are one picture each, 10% are six; each kind alone at the smallest share
    assert [c.planted for c in found.controls] == [1, 1, 1, 6, 0, 0]
    assert sum(n for _, n in found.recall.values()) == 9
    assert told["recall"]["copies"]["value"] == 1.0
    assert plain(told)["controls"][0]["ok"] is True


def test_a_blind_gate_fails_what_it_should_catch(pictures: tuple[np.ndarray, ...]) -> None:
    train, double, unseen = pictures
    told = run_controls(double, Stub(train, blind=True), unseen, kinds=KINDS).to_json()  # type: ignore[arg-type]
    assert not told["ok"] and not told["caught_planted"] and not told["caught_overfitted"]
    assert told["passed_clean"]


def test_an_alarm_that_names_nothing_planted_does_not_count(pictures: tuple[np.ndarray, ...]) -> None:
    train, double, unseen = pictures
    gate = Stub(train, blind=True, nervous=True)
    told = run_controls(double, gate, unseen, kinds=KINDS).to_json()  # type: ignore[arg-type]
    assert not told["caught_planted"] and not told["passed_clean"] and told["caught_overfitted"]


def test_without_unseen_patients_that_control_fails(pictures: tuple[np.ndarray, ...]) -> None:
    train, double, unseen = pictures
    told = run_controls(double, Stub(train), unseen[:0], kinds=KINDS).to_json()  # type: ignore[arg-type]
    assert not told["passed_clean"] and not told["ok"]
