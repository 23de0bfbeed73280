"""Figures 3 to 5 and the scaling curve: what is drawn is what was given, and equal points give equal bytes."""

import re

import numpy as np
import pytest

from datadouble.audit.report.figures.downstream import (
    compound_figure,
    figure_address,
    figure_bytes,
    joined_points,
    scaling_figure,
    utility_privacy_figure,
)
from datadouble.errors import DataDoubleError


def estimate(value: float, half: float = 0.02) -> dict[str, float]:
    return {"value": value, "low": value - half, "high": value + half, "n": 50}


METHODS = [
    {"name": "real 2D", "utility": estimate(0.8), "privacy": estimate(0.3), "is_real": True},
    {"name": "DiffGuard", "utility": estimate(0.75), "privacy": estimate(0.05)},
    {"name": "broken", "utility": {"value": None}, "privacy": estimate(0.0)},
]


def marks(figure: object) -> list[list[tuple[float, float]]]:
    """Places of single marks on each axis, in drawing order."""
    return [
        [
            (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
            for line in axes.lines
            if line.get_marker() not in ("None", "", None) and len(line.get_xdata()) == 1
        ]
        for axes in figure.axes
    ]


def test_every_method_stands_where_it_was_measured() -> None:
    figure = utility_privacy_figure({"U-Net": METHODS, "nnU-Net": METHODS[:2], "TransUNet": METHODS[1:2]})
    assert marks(figure)[0] == [(0.3, 0.8), (0.05, 0.75)]  # what has no value is left out
    assert marks(figure)[2] == [(0.05, 0.75)]
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["U-Net", "nnU-Net", "TransUNet"]
    assert len({axes.get_ylim() for axes in figure.axes}) == 1  # one scale, to compare
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["real 2D", "DiffGuard"]
    assert utility_privacy_figure({"U-Net": METHODS[2:]}) is None and utility_privacy_figure({}) is None


def test_points_are_joined_by_arm_and_kind() -> None:
    cell = {"internal": {"dice": estimate(0.8), "f1": estimate(0.7)}}
    table = {"arms": {"real_2d": {"words": "real 2D", "is_real": True, "kinds": {"unet": cell}}}}
    victim = {
        "attacks": {
            "lira": {"rates": {"advantage": estimate(0.3)}},
            "dice_threshold": {"overall": {"advantage": estimate(0.2)}},
        }
    }
    attacked = {
        "unet": {"victims": {"real_2d": victim, "unknown": victim}},
        "dynunet": {"victims": {"real_2d": victim}},
    }
    (point,) = joined_points(table, attacked)["U-Net"]
    assert (point["name"], point["utility"]["value"], point["privacy"]["value"]) == ("real 2D", 0.8, 0.3)
    other = joined_points(table, attacked, measure="f1", attack="dice_threshold")["U-Net"][0]
    assert (other["utility"]["value"], other["privacy"]["value"]) == (0.7, 0.2)
    assert joined_points(table, attacked, test="external") == {}


def test_compound_scheme_over_epsilon() -> None:
    points = [
        {"epsilon": e, "utility": estimate(u), "privacy": estimate(p)}
        for e, u, p in [(8.0, 0.7, 0.1), (2.0, 0.6, 0.05), (None, 0.8, 0.3)]
    ]
    figure = compound_figure({"real + DP": points})
    above, below = marks(figure)
    assert [y for _, y in above] == [0.6, 0.7, 0.8] and [y for _, y in below] == [0.05, 0.1, 0.3]
    assert above[0][0] == pytest.approx(2) and above[2][0] > 16  # without DP: apart, at the right
    assert figure.axes[1].get_xticklabels()[-1].get_text() == "no DP"
    assert compound_figure({"real + DP": []}) is None
    only = compound_figure(
        {"none": [{"epsilon": float("inf"), "utility": estimate(0.8), "privacy": estimate(0.3)}]}
    )
    assert only is not None
    with pytest.raises(DataDoubleError, match="epsilon must be positive"):
        compound_figure({"x": [{"epsilon": 0.0, "utility": estimate(1), "privacy": estimate(0)}]})


def test_scaling_curve_says_where_it_stopped() -> None:
    points = [
        {
            "per_class": n,
            "pictures": 2 * n,
            "dice": estimate(d),
            "f1": estimate(d - 0.1),
            "membership": estimate(m),
            "compute_seconds": 60.0 * n,
        }
        for n, d, m in [(500, 0.6, 0.01), (1000, 0.7, 0.04), (2000, 0.701, 0.09)]
    ]
    found = {"points": points, "stopped_at": 2000, "advice": 1000, "threshold": 0.005}
    figure = scaling_figure(found)
    assert "stops at 2,000: gains less than 0.005 over 1,000" in figure.axes[0].get_title(loc="left")
    assert [y for _, y in marks(figure)[1]] == [0.01, 0.04, 0.09]
    without = scaling_figure({"points": [{**p, "membership": None} for p in points], "stopped_at": None})
    assert any("not measured" in text.get_text() for text in without.axes[1].texts)
    assert scaling_figure({"points": []}) is None


def test_equal_points_give_equal_files() -> None:
    first, again = (figure_bytes(utility_privacy_figure({"U-Net": METHODS})) for _ in range(2))
    assert first == again and first.startswith(b"<?xml") and not re.search(rb"<image", first)
    assert figure_bytes(utility_privacy_figure({"U-Net": METHODS}), "png").startswith(b"\x89PNG")
    assert figure_address(None) is None
    assert figure_address(
        scaling_figure(
            {
                "points": [
                    {"per_class": 5, "dice": estimate(0.5), "f1": {"value": np.nan}, "compute_seconds": 1}
                ]
            }
        )
    ).startswith("data:image/svg")
