"""Drawing places: frequencies follow the density, what does not fit is never drawn."""

import numpy as np
import pytest
import torch
from scipy import stats

from datadouble.errors import DataDoubleError
from datadouble.networks.placement import PlacementConfig, PlacementNetwork, log_gaussians, log_places
from datadouble.recipes.lesion.descriptors import Descriptor
from datadouble.recipes.lesion.hiding import tissue_of
from datadouble.recipes.lesion.placement_prior import Found, PlacePrior
from datadouble.recipes.lesion.placer import FACTORS, Placer, mixture_weight, tilted
from datadouble.recipes.lesion.room import extents, fits

SIDE = 64


def descriptor(size: float = 6.0, aspect: float = 1.5, angle: float = 0.0) -> Descriptor:
    return Descriptor(size, 30.0, 30.0, aspect, angle, 1.2, -1.0, 0.0)


def make_placer(weight: float = 0.6, tolerance: float = 0.2) -> Placer:
    random = np.random.default_rng(0)
    n = 80
    found = Found(
        random.uniform(0.2, 0.7, n),
        random.uniform(0.1, 0.9, n),
        random.normal(-2.0, 0.3, n),
        random.normal(0, 0.3, n),
        np.arange(n) % 2,
    )
    prior = PlacePrior.fit(found, [str(i) for i in range(n)], 2, 8)
    config = PlacementConfig(SIDE, 2, 8, 16, 1, 2, 2, 0.0)
    network = PlacementNetwork(
        config, torch.from_numpy(np.log(prior.place)).float(), generator=torch.Generator().manual_seed(0)
    )
    torch.manual_seed(1)
    with torch.no_grad():
        for layer in (network.place, network.shape):
            layer.weight.normal_(0, 0.2)
            layer.bias += 0.2 * torch.randn(layer.bias.shape)
    weights = dict.fromkeys(FACTORS, weight)
    return Placer(prior, ("benign", "malignant"), SIDE, network, weights, tolerance, torch.device("cpu"))


def scan(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 180, (SIDE, SIDE)).astype(np.uint8)


def test_extents_are_those_of_the_ellipse() -> None:
    for angle in (0.0, 0.4, -1.0, np.pi / 2):
        high, wide = extents(np.array(20.0), 2.5, np.array(angle))
        t = np.linspace(0, 2 * np.pi, 20001)
        long, short = 20 * np.sqrt(2.5 / np.pi), 20 / np.sqrt(2.5 * np.pi)
        assert np.pi * long * short == pytest.approx(400)  # size is the square root of the area
        rows = long * np.cos(t) * np.sin(angle) + short * np.sin(t) * np.cos(angle)
        columns = long * np.cos(t) * np.cos(angle) - short * np.sin(t) * np.sin(angle)
        assert float(high) == pytest.approx(rows.max(), rel=1e-5)
        assert float(wide) == pytest.approx(columns.max(), rel=1e-5)


def test_a_long_lesion_fits_lying_but_not_standing() -> None:
    tissue = np.zeros((SIDE, SIDE), dtype=bool)
    tissue[20:40] = True
    at = (np.array([30.0]), np.array([32.0]), np.array([16.0]))
    assert fits(*at, np.array([0.0]), 3.0, tissue).all()
    assert not fits(*at, np.array([np.pi / 2]), 3.0, tissue).any()
    assert not fits(np.array([30.0]), np.array([3.0]), np.array([16.0]), np.array([0.0]), 3.0, tissue).any()


def test_tilted_numbers_follow_their_density() -> None:
    u = np.random.default_rng(0).random(20000)
    for slope in (-0.9, 0.0, 0.5):
        drawn = tilted(u, np.full(len(u), slope))
        assert drawn.min() >= 0 and drawn.max() <= 1
        test = stats.kstest(drawn, lambda x, s=slope: s * x**2 + (1 - s) * x)
        assert test.pvalue > 0.01


def test_the_density_sums_to_one_and_is_zero_outside_the_tissue() -> None:
    image = scan()
    image[:24] = 0  # no echo: not imaged
    density = make_placer().density(image, "malignant")
    assert density.shape == (8, 8) and density.sum() == pytest.approx(1)
    assert density[:2].max() == 0
    large = make_placer().density(scan(), 0, descriptor(30.0))
    assert large[0].max() == 0 and large[:, 0].max() == 0 and large.sum() == pytest.approx(1)


@pytest.mark.parametrize("weight", [0.0, 0.6, 1.0])
def test_places_are_drawn_as_the_density_says(weight: float) -> None:
    """Chi-square over the patches, and evenly or leaning inside them, of places drawn before any is refused."""
    placer, random = make_placer(weight), np.random.default_rng(7)
    want = descriptor()
    posterior = placer._posterior(scan(), 1, tissue_of(scan()), want)
    drawn = [placer._draw(posterior, want, random) for _ in range(16)]
    density = posterior.places
    row, column = (np.concatenate([one[axis] for one in drawn]) + 0.5 for axis in (0, 1))
    counts = np.histogram2d(row, column, bins=8, range=((0, SIDE), (0, SIDE)))[0]
    expected = density * counts.sum()
    keep = expected > 3
    pooled = np.append(counts[keep], counts[~keep].sum())
    pooled_expected = np.append(expected[keep], expected[~keep].sum())
    some = pooled_expected > 0
    assert stats.chisquare(pooled[some], pooled_expected[some]).pvalue > 0.005


def test_sizes_lie_about_the_one_asked_for_and_angles_are_axes() -> None:
    placer, random = make_placer(0.0, tolerance=0.1), np.random.default_rng(2)
    places = [placer.sample(scan(), 0, descriptor(9.0), random) for _ in range(60)]
    sizes = np.array([p.size for p in places])
    assert np.log(sizes / 9).mean() == pytest.approx(0, abs=0.1) and np.log(sizes / 9).std() < 0.2
    angles = np.array([p.angle for p in places])
    assert (angles > -np.pi / 2).all() and (angles <= np.pi / 2).all() and np.cos(2 * angles).mean() > 0.5


def test_the_size_asked_for_is_weighed_by_bayes_rule() -> None:
    """Sizes and places for a wanted size are those of the joint density times a Gaussian about it: by brute force."""
    placer, random = make_placer(0.6, tolerance=0.3), np.random.default_rng(4)
    want, image = descriptor(12.0), scan()
    posterior = placer._posterior(image, 1, tissue_of(image), want)
    free = placer._posterior(image, 1, tissue_of(image), None)
    assert posterior.density is not None
    sizes = np.linspace(-4.599, -0.001, 1500)
    told = [part[0].double() for part in posterior.density[2:5]]
    unweighed, expected = posterior_free(placer, image, want), np.zeros((8, 8))
    means = np.zeros((8, 8))
    noise = np.exp(-0.5 * ((sizes - np.log(12 / SIDE)) / 0.3) ** 2)
    for r in range(8):
        for c in range(8):
            parts = [part[r, c].expand(len(sizes), -1) for part in told]
            joint = 0.6 * log_gaussians(torch.from_numpy(sizes), *parts).exp().numpy()
            joint = (joint + 0.4 * np.exp(placer.prior.log_size(1, sizes))) * noise
            expected[r, c] = joint.sum() * unweighed[r, c]
            means[r, c] = (joint * sizes).sum() / joint.sum()
    np.testing.assert_allclose(posterior.places, expected / expected.sum(), rtol=0.02, atol=1e-6)
    drawn = [placer._draw(posterior, want, random) for _ in range(20)]
    found = np.log(np.concatenate([one[2] for one in drawn]) / SIDE)
    assert found.mean() == pytest.approx((posterior.places * means).sum(), abs=0.02)
    assert free.places.sum() == pytest.approx(1)


def posterior_free(placer: Placer, image: np.ndarray, want: Descriptor) -> np.ndarray:
    """The places before the size is weighed."""
    allowed = placer._allowed(tissue_of(image))
    density = placer._look(image, 1, want)
    assert density is not None
    own = log_places(density.scores.double(), torch.from_numpy(allowed)[None])[0].exp().numpy()
    return 0.6 * own + 0.4 * np.exp(placer.prior.log_place(1, allowed))


def test_every_lesion_drawn_fits() -> None:
    placer, random = make_placer(), np.random.default_rng(3)
    for _ in range(25):
        want = descriptor(float(random.uniform(5, 22)), 2.0)
        place = placer.sample(scan(), 1, want, random)
        high, wide = extents(np.array(place.size), 2.0, np.array(place.angle))
        assert place.row - 0.85 * high > -0.5 and place.row + 0.85 * high < SIDE - 0.5
        assert place.column - 0.85 * wide > -0.5 and place.column + 0.85 * wide < SIDE - 0.5


def test_what_fits_nowhere_and_wrong_input_are_refused() -> None:
    random = np.random.default_rng(0)
    with pytest.raises(DataDoubleError, match="fits nowhere"):
        make_placer(0.0, 0.01).sample(scan(), 0, descriptor(60.0, 3.0), random)
    with pytest.raises(DataDoubleError, match="another size"):
        make_placer().density(scan()[:32, :32], 0)
    with pytest.raises(DataDoubleError, match="no such class"):
        make_placer().density(scan(), "cyst")


def test_the_mixture_is_never_worse_than_the_prior_where_it_was_fitted() -> None:
    random = np.random.default_rng(0)
    for better in (-1.0, 0.0, 1.0):
        prior = random.normal(-2, 1, 60)
        network = prior + better + random.normal(0, 1, 60)
        weight = mixture_weight(network, prior)
        mixed = np.log(weight * np.exp(network) + (1 - weight) * np.exp(prior))
        assert mixed.sum() >= prior.sum() - 1e-9
        grid = np.linspace(0, 1, 1001)
        best = max(np.log(w * np.exp(network) + (1 - w) * np.exp(prior)).sum() for w in grid)
        assert mixed.sum() >= best - 1e-3
    assert mixture_weight(np.full(20, -9.0), np.full(20, -1.0)) == 0
    assert mixture_weight(np.full(20, -1.0), np.full(20, -9.0)) > 0.99
