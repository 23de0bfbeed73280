"""Texture of the pictures themselves: power spectrum, grey levels, detail and speckle, beside real against real."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from datadouble.audit.fidelity.comparison import (
    DEFAULT_SIZES,
    Plan,
    Sizes,
    measured,
    paired_counts,
    plan_comparison,
    real_floor_values,
)
from datadouble.audit.fidelity.distributions import compare_samples
from datadouble.audit.fidelity.grey_levels import (
    DETAIL_STEP,
    detail_histograms,
    grey_histograms,
    histogram_distance,
)
from datadouble.audit.fidelity.speckle import PROPERTIES, speckle_statistics
from datadouble.audit.fidelity.spectrum import (
    BANDS,
    SpectrumCurve,
    band_means,
    decibels,
    frequencies,
    radial_power,
)
from datadouble.progress import track
from datadouble.randomness import generator_for, seed_for

if TYPE_CHECKING:
    from datadouble.audit.pictures import Pictures

LIMIT = 2000  # pictures a side that are measured, drawn at random
SMALLEST_SIDE = 32


class Texture(NamedTuple):
    """What is measured of each picture: arrays of n rows, and their patients and labels."""

    power: np.ndarray
    grey: np.ndarray
    detail: np.ndarray
    speckle: dict[str, np.ndarray]
    groups: np.ndarray
    labels: np.ndarray

    def where(self, keep: np.ndarray) -> Texture:
        """The rows picked by a boolean mask or an index array."""
        return Texture(
            self.power[keep],
            self.grey[keep],
            self.detail[keep],
            {key: values[keep] for key, values in self.speckle.items()},
            self.groups[keep],
            self.labels[keep],
        )


class TextureMaterial(NamedTuple):
    """What a report draws: the spectra, and both histograms (256 grey levels; shares, synthetic and real)."""

    spectrum: SpectrumCurve
    grey_synthetic: np.ndarray
    grey_real: np.ndarray


def measure_texture(array: np.ndarray, groups: np.ndarray, labels: np.ndarray) -> Texture:
    """Everything that is measured of each picture of a uint8 array (n, s, s).

    Raises
    ------
    ValueError
        For pictures under 32 px a side or not square.
    """
    if array.ndim != 3 or array.shape[1] != array.shape[2] or array.shape[1] < SMALLEST_SIDE:
        raise ValueError(
            f"texture needs square pictures of {SMALLEST_SIDE} px or more: found shape {array.shape}"
        )
    return Texture(
        radial_power(array),
        grey_histograms(array),
        detail_histograms(array),
        speckle_statistics(array),
        np.asarray(groups),
        np.asarray(labels),
    )


def assess_texture(
    synthetic: Pictures,
    reference: Pictures,
    counterpart: Pictures | None,
    *,
    classes: Sequence[str] = (),
    sizes: Sizes = DEFAULT_SIZES,
    limit: int = LIMIT,
    seed: int = 0,
) -> tuple[dict[str, Any], TextureMaterial | None]:
    """Texture of a double against its reference, overall and by class.

    Parameters
    ----------
    synthetic, reference : Pictures
        Brought to one size by the same path.
    counterpart : Pictures or None
        Real pictures of other patients, for the floor; None: the reference is halved.
    classes : sequence of str
        Labels to repeat it for.
    limit : int
        Most pictures of each set that are measured; drawn at random.

    Returns
    -------
    dict
        ``at_size``, ``overall`` and ``classes``; each of these has ``spectrum`` (``gap`` and ``bands``, in dB,
        synthetic minus real), ``grey_levels`` and ``detail`` (W1 in grey levels) and ``speckle`` (a comparison of
        samples each), with intervals and floors.
    TextureMaterial or None
        Overall; None where there were too few pictures.
    """
    sets = []
    for name, pictures in track(
        [("synthetic", synthetic), ("reference", reference), ("counterpart", counterpart)], "texture"
    ):
        if pictures is None:
            continue
        rows = generator_for(seed, "texture", name).permutation(len(pictures))[:limit]
        chosen = np.sort(rows)
        sets.append(measure_texture(pictures.array[chosen], pictures.groups[chosen], pictures.labels[chosen]))
    result: dict[str, Any] = {"at_size": int(reference.array.shape[-1])}
    result["overall"], material = compare_texture(*sets, sizes=sizes, seed=seed)
    result["classes"] = {
        name: compare_texture(*(part.where(part.labels == name) for part in sets), sizes=sizes, seed=seed)[0]
        for name in classes
    }
    return result, material


def compare_texture(
    synthetic: Texture,
    reference: Texture,
    counterpart: Texture | None = None,
    *,
    sizes: Sizes = DEFAULT_SIZES,
    seed: int = 0,
) -> tuple[dict[str, Any], TextureMaterial | None]:
    """The comparison of what :func:`measure_texture` found; see :func:`assess_texture`."""
    plan = plan_comparison(
        synthetic.groups,
        reference.groups,
        None if counterpart is None else counterpart.groups,
        repeats=sizes.repeats,
        seed=seed_for(seed, "texture"),
    )
    result: dict[str, Any] = {
        "n": plan.n,
        "n_real": len(reference.groups),
        "n_synthetic": len(synthetic.groups),
    }
    result["patients"] = plan.patients
    if plan.note:
        return result | {"note": plan.note}, None
    first, second = plan.draws[0]
    counts = paired_counts(
        reference.groups[first], synthetic.groups[second], sizes, seed_for(seed, "pictures")
    )
    means = _Means(plan, counts)
    result["spectrum"], curve = _spectrum(synthetic, reference, counterpart, means, sizes)
    for key, step in (("grey_levels", 1.0), ("detail", DETAIL_STEP)):
        histograms = [
            None if part is None else part.grey if key == "grey_levels" else part.detail
            for part in (synthetic, reference, counterpart)
        ]

        def distance(real: np.ndarray, double: np.ndarray, step: float = step) -> np.ndarray:
            return histogram_distance(real, double, step)

        double, real, other = histograms
        assert double is not None and real is not None
        values, resampled, floor = means.apply(distance, double, real, other)
        result[key] = {"unit": "grey levels"} | measured(
            values.tolist(), resampled, _lists(floor), plan, sizes, (0.0, np.inf)
        )
    result["speckle"] = {
        key: compare_samples(
            synthetic.speckle[key],
            reference.speckle[key],
            None if counterpart is None else counterpart.speckle[key],
            synthetic_groups=synthetic.groups,
            reference_groups=reference.groups,
            counterpart_groups=None if counterpart is None else counterpart.groups,
            unit=unit,
            sizes=sizes,
            seed=seed_for(seed, key),
        )
        for key, unit in PROPERTIES.items()
    }
    return result, TextureMaterial(curve, synthetic.grey.mean(axis=0), reference.grey.mean(axis=0))


class _Means:
    """A function of the two sets' mean rows, over draws, resamples and real pairs."""

    def __init__(self, plan: Plan, counts: tuple[np.ndarray, np.ndarray]) -> None:
        self.plan = plan
        self.weights = [c / c.sum(axis=1, keepdims=True) for c in counts]

    def apply(
        self,
        function: Callable[[np.ndarray, np.ndarray], np.ndarray],
        synthetic: np.ndarray,
        real: np.ndarray,
        other: np.ndarray | None,
    ) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
        """``function(real means, synthetic means)`` by draw and by resample; of real and real by pair and parting."""
        first, second = self.plan.draws[0]
        draws = [(real[a].mean(axis=0), synthetic[b].mean(axis=0)) for a, b in self.plan.draws]

        def of_means(one: np.ndarray, two: np.ndarray) -> np.ndarray:
            return function(one.mean(axis=0), two.mean(axis=0))

        floor, parted = real_floor_values(of_means, real, other, self.plan)
        return (
            np.array([function(*pair) for pair in draws]),
            function(self.weights[0] @ real[first], self.weights[1] @ synthetic[second]),
            (np.array(floor), np.array(parted).reshape(len(parted), *np.shape(floor)[1:])),
        )


def _lists(parts: Sequence[np.ndarray]) -> tuple[list[float], list[float]]:
    return parts[0].tolist(), parts[1].tolist()


def _spectrum(
    synthetic: Texture, reference: Texture, other: Texture | None, means: _Means, sizes: Sizes
) -> tuple[dict[str, Any], SpectrumCurve]:
    def difference(real: np.ndarray, double: np.ndarray) -> np.ndarray:
        return decibels(double) - decibels(real)

    values, resampled, floor = means.apply(
        difference, synthetic.power, reference.power, None if other is None else other.power
    )
    gaps = [np.abs(part).mean(axis=-1) for part in (values, resampled)]
    gap_floor = tuple(np.abs(part).mean(axis=-1) for part in floor)
    found: dict[str, Any] = {
        "unit": "dB",
        "gap": measured(gaps[0].tolist(), gaps[1], _lists(gap_floor), means.plan, sizes, (0.0, np.inf)),
        "bands": [],
    }
    bands = [band_means(part) for part in (values, resampled, *floor)]
    for i, (name, low, high) in enumerate(BANDS):
        found["bands"].append(
            {"name": name, "from_nyquist": low, "to_nyquist": high}
            | measured(
                bands[0][:, i].tolist(),
                bands[1][:, i],
                _lists((bands[2][:, i], bands[3][:, i])),
                means.plan,
                sizes,
            )
        )
    tail = (1 - sizes.confidence) / 2
    middle = values.mean(axis=0)
    low, high = np.quantile(resampled, [tail, 1 - tail], axis=0) + middle - resampled.mean(axis=0)
    spread = floor[1] if len(floor[1]) else floor[0]
    floor_low, floor_high = (
        np.quantile(spread, [0.025, 0.975], axis=0) + floor[0].mean(axis=0) - spread.mean(axis=0)
    )
    curve = SpectrumCurve(
        frequencies(values.shape[1]),
        decibels(synthetic.power.mean(axis=0)),
        decibels(reference.power.mean(axis=0)),
        middle,
        low,
        high,
        floor_low,
        floor_high,
    )
    return found, curve
