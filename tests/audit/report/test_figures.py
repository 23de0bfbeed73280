"""Every plot draws what it is given, and gives None (never an error) where there is nothing to draw."""

import base64

import numpy as np
import pytest

from datadouble.audit.report.figures import fidelity, privacy, training, usefulness
from datadouble.audit.report.training_run import Curves

NOTHING = np.zeros(0)


def drawn(address):
    return address.startswith("data:image/svg+xml;base64,") and b"<svg" in base64.b64decode(
        address.split(",")[1]
    )


def estimate(value, low, high, **more):
    return {"value": value, "low": low, "high": high, "n": 9, **more}


EMPTY = [
    lambda: fidelity.distance_plot({}, {}, "fd"),
    lambda: fidelity.distance_plot({"fd": {"value": None}}, {"a": {"note": "too few"}}, "fd"),
    lambda: fidelity.manifold_plot({}),
    lambda: fidelity.spectrum_plot({}),
    lambda: fidelity.grey_plot({"grey_real": np.array([np.nan, np.nan]), "grey_synthetic": np.ones(2)}),
    lambda: fidelity.speckle_plot({"local_snr": {"note": "too few"}}, {}),
    lambda: fidelity.speckle_plot({"x": {"wasserstein": estimate(1, 0, 2), "real": {"sd": 0.0}}}, {}),
    lambda: fidelity.lesion_plot({}, {}),
    lambda: fidelity.lesion_plot({"area": (np.array([np.nan]), np.ones(3))}, {}),
    lambda: fidelity.modes_plot([]),
    lambda: fidelity.modes_plot([{"share_real": None}]),
    lambda: privacy.similarity_plot(NOTHING, np.ones(4)),
    lambda: privacy.copy_plot(NOTHING, NOTHING, NOTHING),
    lambda: privacy.membership_plot({}, 10),
    lambda: privacy.membership_plot({"a": (np.zeros(1), np.zeros(1))}, None),
    lambda: privacy.release_size_plot([]),
    lambda: privacy.release_size_plot([{"measure": "unheard of", "size": 1, **estimate(1, 0, 2)}]),
    lambda: privacy.recall_plot({}),
    lambda: privacy.loss_by_time_plot([{"time": 0.1, "auc": estimate(0.5, 0.4, 0.6)}]),
    lambda: usefulness.roc_plot({"a": None, "b": {"fpr": [], "tpr": []}}, x="x", y="y"),
    lambda: usefulness.arms_plot({"real": {"words": "real"}}, "AUC", "auc"),
    lambda: usefulness.size_plot({"real": [{}]}, "Dice"),
    lambda: training.training_plot(Curves({}, [], {})),
    lambda: training.side_plot(Curves({"learning_rate": (np.ones(1), np.ones(1))}, [], {})),
]


@pytest.mark.parametrize("plot", EMPTY)
def test_nothing_to_draw(plot):
    assert plot() is None


DEGENERATE = [
    lambda: fidelity.distance_plot({"fd": estimate(0, 0, 0, floor=None)}, {"$x_1$ <b>" * 9: {}}, "fd"),
    lambda: fidelity.distance_plot({"kid": {"value": -0.1, "name": "KD"}}, {}, "kid"),
    lambda: fidelity.manifold_plot({"density": estimate(1.4, 1.2, 1.6)}),
    lambda: fidelity.spectrum_plot(
        {
            f"spectrum/{key}": np.zeros(3)
            for key in (
                "frequency",
                "synthetic",
                "real",
                "difference",
                "low",
                "high",
                "floor_low",
                "floor_high",
            )
        }
    ),
    lambda: fidelity.grey_plot({"grey_real": np.zeros(256), "grey_synthetic": np.zeros(256)}),
    lambda: fidelity.speckle_plot({"a": {"wasserstein": {"value": 1.0}, "real": {"sd": 2.0}}}, {}),
    lambda: fidelity.lesion_plot({"area": (np.ones(1), np.ones(1))}, {}),
    lambda: fidelity.modes_plot(
        [{"share_real": {"value": 1.0}, "share_synthetic": {"value": 0.0}, "lost": True}]
    ),
    lambda: privacy.similarity_plot(np.ones(3), NOTHING),
    lambda: privacy.copy_plot(np.array([np.nan, 1.0]), np.ones(1), np.array([1.0])),
    lambda: privacy.membership_plot(
        {str(i): (np.array([0.0, 1.0]), np.array([0.0, 1.0])) for i in range(9)}, 5
    ),
    lambda: privacy.membership_plot({"a": (np.array([0.0, 1.0]), np.array([0.0, 1.0]))}, 1),
    lambda: privacy.release_size_plot([{"measure": "auc", "size": 7, **estimate(0.5, 0.4, 0.6)}]),
    lambda: privacy.recall_plot({"copies": {"value": 1.0, "low": 0.2, "high": 1.0}}),
    lambda: privacy.loss_by_time_plot([{"time": 0.1, "auc": estimate(0.5, 0.4, 0.6)}] * 2),
    lambda: usefulness.roc_plot({"$a$": {"fpr": [0.0, 1.0], "tpr": [0.0, 1.0]}}, x="x", y="y"),
    lambda: usefulness.arms_plot({"synthetic": {"auc": estimate(0.5, 0.5, 0.5)}}, "AUC", "auc", 0.05),
    lambda: usefulness.size_plot({"real": [{"value": 0.5}, {}], "other": [{}, {"value": 0.5}]}, "Dice"),
    lambda: usefulness.size_plot({"real": [estimate(0.5, 0.4, 0.6)]}, "Dice"),
    lambda: training.training_plot(Curves({"loss": (np.ones(1), np.ones(1))}, [], {})),
    lambda: training.side_plot(Curves({"learning_rate": (np.arange(2), np.zeros(2))}, [], {})),
]


@pytest.mark.parametrize("plot", DEGENERATE)
def test_little_to_draw(plot):
    assert drawn(plot())


def test_equal_input_equal_bytes():
    recall = {"copies": estimate(0.5, 0.2, 0.8)}
    assert privacy.recall_plot(recall) == privacy.recall_plot(recall)
