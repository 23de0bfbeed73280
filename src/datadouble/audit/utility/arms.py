"""The arms of the usefulness test: which pictures, real and synthetic, each one learns from, and in which order."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from datadouble.audit.choices import choose


class Stage(NamedTuple):
    """A stretch of training: rows of the real and of the synthetic pictures, and its share of all steps."""

    real: np.ndarray
    synthetic: np.ndarray
    share: float = 1.0


class Material(NamedTuple):
    """What an arm may draw from.

    Parameters
    ----------
    real : ndarray of int
        Rows of the real training pictures of this fold.
    real_labels, synthetic_labels : ndarray of str
        Labels of all real and of all synthetic pictures.
    groups : ndarray of str
        Patients of all real pictures.
    rng : numpy.random.Generator
        Equal for all arms of one fold and seed, so that "half real alone" and "half and half" share their real half.
    """

    real: np.ndarray
    real_labels: np.ndarray
    synthetic_labels: np.ndarray
    groups: np.ndarray
    rng: np.random.Generator


class Arm(NamedTuple):
    """One arm: its words for a reader, whether it uses the double, and its plan."""

    words: str
    uses_double: bool
    plan: Callable[[Material], list[Stage]]
    is_control: bool = False


NONE = np.empty(0, np.int64)


def draw_like(labels: np.ndarray, pool: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rows of ``pool`` with as many pictures of each label as ``labels`` has, or all where it has fewer.

    Where no label is in both, as of a double without labels, as many of any label.
    """
    if not np.isin(pool, labels).any():
        return np.sort(rng.permutation(len(pool))[: len(labels)])
    chosen = [NONE]
    for label, wanted in zip(*np.unique(labels, return_counts=True), strict=True):
        rows = rng.permutation(np.flatnonzero(pool == label))
        chosen.append(rows[:wanted])
    return np.sort(np.concatenate(chosen))


def half_of_patients(
    labels: np.ndarray, groups: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Positions of half of the patients' pictures, and of the others'; each label's patients are halved by themselves.

    Parameters
    ----------
    labels, groups : ndarray of str
        (n,): label and patient of each picture. A patient counts with the label of the first one.
    """
    patients, first = np.unique(groups, return_index=True)
    order = rng.permutation(len(patients))
    order = order[np.argsort(labels[first][order], kind="stable")]
    kept = np.isin(groups, patients[order[::2]])
    return np.flatnonzero(kept), np.flatnonzero(~kept)


def _halves(material: Material) -> tuple[np.ndarray, np.ndarray]:
    rows = material.real
    kept, dropped = half_of_patients(material.real_labels[rows], material.groups[rows], material.rng)
    return rows[kept], rows[dropped]


def _real(material: Material) -> list[Stage]:
    return [Stage(material.real, NONE)]


def _synthetic(material: Material) -> list[Stage]:
    like = material.real_labels[material.real]
    return [Stage(NONE, draw_like(like, material.synthetic_labels, material.rng))]


def _all_synthetic(material: Material) -> list[Stage]:
    return [Stage(NONE, np.arange(len(material.synthetic_labels)))]


def _both(material: Material) -> list[Stage]:
    return [Stage(material.real, _synthetic(material)[0].synthetic)]


def _half_and_half(material: Material) -> list[Stage]:
    kept, dropped = _halves(material)
    return [Stage(kept, draw_like(material.real_labels[dropped], material.synthetic_labels, material.rng))]


def _half_real(material: Material) -> list[Stage]:
    return [Stage(_halves(material)[0], NONE)]


def _fine_tuned(material: Material) -> list[Stage]:
    return [Stage(NONE, _synthetic(material)[0].synthetic, 0.5), Stage(material.real, NONE, 0.5)]


ARMS = {
    "real": Arm("real", False, _real),
    "synthetic": Arm("synthetic, as many", True, _synthetic),
    "real_and_synthetic": Arm("real + synthetic", True, _both),
    "half_and_half": Arm("half real + half synthetic", True, _half_and_half),
    "half_real": Arm("half real alone", False, _half_real),
    "synthetic_then_real": Arm("synthetic, then fine-tuned on real", True, _fine_tuned),
    "all_synthetic": Arm("synthetic, all of the double", True, _all_synthetic),
    # A double that is the real training set: what another random seed does, so what "equal" looks like.
    "real_as_double": Arm("control: the real pictures as the double", False, _real, True),
    "permuted_labels": Arm("control: real, labels permuted", False, _real, True),
}
PAPER_ARMS = (
    "real",
    "synthetic",
    "real_and_synthetic",
    "half_and_half",
    "half_real",
    "synthetic_then_real",
)
CONTROLS = ("real_as_double", "permuted_labels")


def check_arms(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names with ``real`` first, which every other arm is held against, each once.

    Raises
    ------
    DataDoubleError
        For an unknown arm.
    """
    for name in names:
        choose("arm", name, ARMS)
    return ("real", *(name for name in dict.fromkeys(names) if name != "real"))
