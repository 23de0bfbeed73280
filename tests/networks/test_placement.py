"""The placement network's densities: they integrate to 1, equal closed forms, and start as the prior."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from datadouble.errors import DataDoubleError
from datadouble.networks.placement import (
    PlaceDensity,
    PlacementConfig,
    PlacementNetwork,
    Truth,
    fitted_start,
    log_axes,
    log_density,
    log_gaussians,
    log_places,
)

CONFIG = PlacementConfig(size=32, classes=2, patch=8, width=16, depth=1, heads=2, mixtures=3, dropout=0.0)


def network(seed: int = 0, *, shaken: bool = True) -> PlacementNetwork:
    """A small network, its heads moved away from zero so that all outputs differ."""
    torch.manual_seed(seed)
    prior = torch.randn(2, 4, 4).flatten(1).log_softmax(1).view(2, 4, 4)
    net = PlacementNetwork(CONFIG, prior, generator=torch.Generator().manual_seed(seed)).eval()
    if shaken:
        with torch.no_grad():
            for layer in (net.place, net.shape, net.modulation):
                layer.weight.normal_(0, 0.3)
                layer.bias.normal_(0, 0.3)
    return net


def density(net: PlacementNetwork, b: int = 1) -> PlaceDensity:
    images = torch.rand(b, 1, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        return net(images, torch.arange(b) % 2, torch.zeros(b), torch.zeros(b, dtype=torch.bool))


def test_a_fresh_network_is_the_prior() -> None:
    net = network(shaken=False)
    found = density(net, 2)
    torch.testing.assert_close(
        found.scores.flatten(1).softmax(1), net.prior.flatten(1).exp(), atol=1e-6, rtol=0
    )
    assert (found.slopes == 0).all()


def test_axes_equal_scipys_von_mises_and_have_period_pi() -> None:
    angles = np.linspace(-1.5, 1.5, 13)
    weights, axes, kappas = np.array([0.3, 0.7]), np.array([0.2, 1.4]), np.array([0.0, 6.0])
    expected = sum(
        w * 2 * stats.vonmises.pdf(2 * angles, k, loc=2 * m) if k else w * np.full(13, 1 / np.pi)
        for w, m, k in zip(weights, axes, kappas, strict=True)
    )
    told = [torch.tensor(v)[None].expand(13, 2) for v in (np.log(weights), axes, kappas)]
    found = log_axes(torch.tensor(angles), *told).exp()
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_allclose(log_axes(torch.tensor(angles + np.pi), *told).exp(), expected, rtol=1e-6)
    one = [v[:1] for v in told]
    total, _ = integrate.quad(lambda a: float(log_axes(torch.tensor([a]), *one).exp()), -np.pi / 2, np.pi / 2)
    assert total == pytest.approx(1, abs=1e-6)


def test_gaussians_equal_scipys() -> None:
    values = np.linspace(-4, 1, 9)
    expected = 0.25 * stats.norm.pdf(values, -1, 0.5) + 0.75 * stats.norm.pdf(values, -2, 0.2)
    mixture = np.log([0.25, 0.75]), np.array([-1.0, -2.0]), np.array([0.5, 0.2])
    told = [torch.tensor(v)[None].expand(9, 2) for v in mixture]
    np.testing.assert_allclose(log_gaussians(torch.tensor(values), *told).exp(), expected, rtol=1e-6)


def test_the_place_integrates_to_one_over_what_is_allowed() -> None:
    found = density(network())
    allowed = torch.ones(1, 4, 4, dtype=torch.bool)
    allowed[0, 0] = allowed[0, 2, 1] = False
    n = 160
    grid = (torch.arange(n) + 0.5) / n
    rows, columns = (v.flatten() for v in torch.meshgrid(grid, grid, indexing="ij"))
    inside = allowed[0, (rows * 4).long(), (columns * 4).long()]
    rows, columns = rows[inside], columns[inside]
    many = PlaceDensity(*(v.expand(len(rows), *v.shape[1:]) for v in found))
    truth = Truth(rows, columns, torch.full_like(rows, -1.6), torch.zeros_like(rows))
    log = log_density(many, allowed.expand(len(rows), 4, 4), truth)
    assert float(log.place.exp().sum() / n**2) == pytest.approx(1, abs=2e-3)
    assert log_places(found.scores, allowed)[~allowed].exp().max() == 0


def test_a_place_not_in_tissue_by_the_rule_still_has_a_likelihood_in_training() -> None:
    found = density(network())
    allowed = torch.zeros(1, 4, 4, dtype=torch.bool)
    allowed[0, 1, 1] = True
    truth = Truth(*(torch.tensor([v]) for v in (0.9, 0.1, -1.0, 0.3)))
    assert torch.isfinite(log_density(found, allowed, truth).total).all()


def test_rows_and_columns_are_not_confused() -> None:
    """All weight is put on one patch off the diagonal, all slope on rows."""
    found = density(network(shaken=False))
    scores = torch.full((1, 4, 4), -50.0)
    scores[0, 3, 1] = 0.0
    slopes = torch.zeros(1, 4, 4, 2)
    slopes[..., 0] = 0.9
    sharp = found._replace(scores=scores, slopes=slopes)
    allowed = torch.ones(1, 4, 4, dtype=torch.bool)

    def place(row: float, column: float) -> float:
        return float(
            log_density(sharp, allowed, Truth(*(torch.tensor([v]) for v in (row, column, -1.0, 0.0)))).place
        )

    assert place(0.98, 0.3) == pytest.approx(math.log(16) + math.log(1 + 0.9 * (2 * 0.92 - 1)), abs=1e-4)
    assert place(0.76, 0.3) < place(0.98, 0.3)
    assert place(0.3, 0.98) < -30


def test_the_start_is_fitted_to_a_class() -> None:
    """Most lesions lie level and are of two sizes."""
    random = np.random.default_rng(0)
    sizes = np.concatenate([random.normal(-2.2, 0.1, 300), random.normal(-1.0, 0.1, 100)])
    angles = random.normal(0, 0.2, 400)
    start = fitted_start(sizes, angles, 2)
    order = start[1].argsort()
    torch.testing.assert_close(start[1][order], torch.tensor([-2.2, -1.0]), atol=0.05, rtol=0)
    torch.testing.assert_close(start[0][order].softmax(0), torch.tensor([0.75, 0.25]), atol=0.03, rtol=0)
    weights = start[3].softmax(0)
    mean = (weights[:, None] * start[4:].T / start[4:].norm(dim=0)[:, None]).sum(0)
    assert mean[0] > 0.5 and abs(mean[1]) < 0.1  # about the axis 0, as often falling as rising


def test_gradients_reach_every_parameter() -> None:
    net = network().train()
    images = torch.rand(2, 1, 32, 32)
    out = net(images, torch.tensor([0, 1]), torch.ones(2), torch.tensor([True, True]))
    truth = Truth(*(torch.rand(2) for _ in range(4)))
    (-log_density(out, torch.ones(2, 4, 4, dtype=torch.bool), truth).total.sum()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataDoubleError, match="placement network"):
        PlacementConfig(size=30, classes=2)
    with pytest.raises(DataDoubleError, match="placement network"):
        PlacementConfig(size=32, classes=2, width=20, heads=3)
