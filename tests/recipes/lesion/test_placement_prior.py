"""The placement baseline: histograms that sum to 1, follow the lesions, and mean nothing by left and right."""

from pathlib import Path

import numpy as np
import pytest

from datadouble.recipes.lesion.placement_prior import LOG_SIZES, Found, PlacePrior


def lesions(n: int = 240, seed: int = 0) -> Found:
    """Class 0: shallow, level, small; class 1: deep, upright, large."""
    random = np.random.default_rng(seed)
    label = np.arange(n) % 2
    return Found(
        np.clip(random.normal(np.where(label, 0.7, 0.3), 0.05), 0, 0.999),
        np.clip(random.normal(0.25, 0.05, n), 0, 0.999),
        random.normal(np.where(label, -0.9, -2.2), 0.2),
        np.where(label, np.pi / 2 - np.abs(random.normal(0, 0.2, n)), random.normal(0, 0.2, n)),
        label,
    )


@pytest.fixture(scope="module")
def prior() -> PlacePrior:
    found = lesions()
    return PlacePrior.fit(found, [str(i) for i in range(len(found.label))], 2, 8)


def test_all_densities_integrate_to_one(prior: PlacePrior) -> None:
    for label in (0, 1):
        assert prior.place[label].sum() == pytest.approx(1)
        sizes = np.linspace(*LOG_SIZES, 40001)[:-1] + 1e-9
        assert np.exp(prior.log_size(label, sizes)).mean() * (LOG_SIZES[1] - LOG_SIZES[0]) == pytest.approx(
            1, abs=1e-3
        )
        angles = -np.pi / 2 + np.pi * (np.arange(36000) + 0.5) / 36000
        assert np.exp(prior.log_angle(label, angles)).mean() * np.pi == pytest.approx(1, abs=1e-6)


def test_rows_are_depth_and_mirror_images_are_as_likely(prior: PlacePrior) -> None:
    shallow, deep = prior.place
    assert shallow[2].sum() > 10 * shallow[5].sum() and deep[5].sum() > 10 * deep[2].sum()
    np.testing.assert_allclose(shallow, shallow[:, ::-1])
    np.testing.assert_allclose(prior.angle[0], prior.angle[0][::-1], rtol=1e-6)


def test_classes_have_their_own_sizes_and_angles(prior: PlacePrior) -> None:
    assert prior.log_size(0, -2.2) > prior.log_size(1, -2.2) + 1
    assert prior.log_angle(1, np.pi / 2) > prior.log_angle(1, 0.0) + 1
    assert prior.log_angle(0, 0.0) > prior.log_angle(0, 1.5) + 1
    assert prior.log_angle(1, 1.5) == pytest.approx(prior.log_angle(1, 1.5 - np.pi), abs=1e-9)  # an axis


def test_it_predicts_other_lesions_better_than_chance_and_than_the_other_class(prior: PlacePrior) -> None:
    other = lesions(seed=1)
    own = [float(prior.log_size(int(c), s)) for c, s in zip(other.label, other.size, strict=True)]
    wrong = [float(prior.log_size(1 - int(c), s)) for c, s in zip(other.label, other.size, strict=True)]
    even = -np.log(LOG_SIZES[1] - LOG_SIZES[0])
    assert np.mean(own) > even + 1 and np.mean(own) > np.mean(wrong) + 1


def test_what_is_not_allowed_is_never_drawn(prior: PlacePrior) -> None:
    allowed = np.zeros((8, 8), dtype=bool)
    allowed[2, 1] = allowed[6, 6] = True
    places = np.exp(prior.log_place(0, allowed))
    assert places.sum() == pytest.approx(1) and places[~allowed].max() == 0
    assert np.exp(prior.log_place(0, np.zeros((8, 8), dtype=bool))).sum() == pytest.approx(1)


def test_draws_follow_the_histograms(prior: PlacePrior) -> None:
    random = np.random.default_rng(5)
    sizes = prior.sample_size(0, 4000, random)
    assert sizes.mean() == pytest.approx(-2.2, abs=0.1)
    angles = prior.sample_angle(1, 4000, random)
    assert (angles > -np.pi / 2 - 1e-9).all() and (angles <= np.pi / 2).all()
    assert np.abs(angles).mean() > 1.1
    near = prior.sample_size(0, 4000, random, wanted=-1.8, tolerance=0.05)
    assert near.mean() == pytest.approx(-1.8, abs=0.06) and near.std() < 0.12


def test_it_is_kept_and_read(prior: PlacePrior, tmp_path: Path) -> None:
    prior.save(tmp_path / "prior.json")
    again = PlacePrior.load(tmp_path / "prior.json")
    np.testing.assert_allclose(again.place, prior.place, atol=1e-8)
    np.testing.assert_allclose(again.angle.sum(1), 1)


def test_one_class_with_few_lesions_leans_on_the_others() -> None:
    found = lesions(60)
    few = found.take(np.flatnonzero((found.label == 0) | (np.arange(60) < 6)))
    prior = PlacePrior.fit(few, [str(i) for i in range(len(few.label))], 2, 8)
    assert np.isfinite(np.log(prior.place)).all()
