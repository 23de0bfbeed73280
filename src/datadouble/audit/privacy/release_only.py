"""All that an attacker who sees the release alone can be measured by, in one call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from datadouble.audit.features.base import Features
from datadouble.audit.privacy.attributes import attribute_disclosure
from datadouble.audit.privacy.authenticity import DistanceRatios, assess_authenticity
from datadouble.audit.privacy.membership import MembershipCurves, Space, joint_membership
from datadouble.audit.privacy.release_size import ReleaseSizeCurve, release_size_curve
from datadouble.audit.privacy.two_cohorts import two_cohort_attack
from datadouble.errors import DataDoubleError
from datadouble.randomness import seed_for

Values = tuple[np.ndarray, np.ndarray, np.ndarray]
"""An attribute of the pictures of the double, of train and of the holdout; ``""`` where unknown."""


class ReleaseOnlyMaterial(NamedTuple):
    """What a report draws: curves and scores of each feature space, distance ratios, the curve over release size."""

    membership: dict[str, MembershipCurves]
    ratios: DistanceRatios
    release_size: ReleaseSizeCurve


class ReleaseOnly(NamedTuple):
    """Plain values for ``evidence.json``, and what a report draws."""

    evidence: dict[str, Any]
    material: ReleaseOnlyMaterial


def assess_release_only(
    synthetic: Features,
    train: Features,
    holdout: Features,
    *,
    name: str = "features",
    more_spaces: Mapping[str, Space] | None = None,
    train_groups: np.ndarray | None = None,
    holdout_groups: np.ndarray | None = None,
    attributes: Mapping[str, Values] | None = None,
    other_double: Features | None = None,
    copies: np.ndarray | None = None,
    sizes: list[int] | None = None,
    repeats: int = 20,
    orders: int = 5,
    permutations: int = 9999,
    seed: int = 0,
    confidence: float = 0.95,
) -> ReleaseOnly:
    """Membership, two-cohort attack, authenticity, attribute disclosure, and the curve over release size.

    Parameters
    ----------
    synthetic, train, holdout : Features
        By one extractor, called ``name`` in the evidence.
    more_spaces : mapping of str to Space, optional
        The same pictures, row by row, in other feature spaces: :func:`.thumbnails.thumbnail_features` should be one,
        for networks overlook redrawn training pictures. Membership has one P value over all of them; attributes are
        guessed in each; the curve is drawn in the last, the distances are measured in the first.
    train_groups, holdout_groups : ndarray, optional
        What was split as one, where that is more than a patient (look-alike groups).
    attributes : mapping, optional
        Attributes to guess, by name; by default the label.
    other_double : Features, optional
        A double from a generator that was trained on the holdout. Without it the attack is made by a threshold.
    copies : ndarray of bool, optional
        Of each synthetic picture, from the search for copies; for the curve.
    """
    spaces = {name: Space(synthetic.array, train.array, holdout.array), **(more_spaces or {})}
    groups = (
        train.groups if train_groups is None else np.asarray(train_groups),
        holdout.groups if holdout_groups is None else np.asarray(holdout_groups),
    )
    joint = joint_membership(
        spaces,
        train_groups=groups[0],
        holdout_groups=groups[1],
        train_labels=train.labels,
        holdout_labels=holdout.labels,
        repeats=repeats,
        permutations=permutations,
        seed=seed_for(seed, "membership"),
        confidence=confidence,
    )
    authenticity = assess_authenticity(
        synthetic.array,
        train.array,
        holdout.array,
        train_groups=groups[0],
        holdout_groups=groups[1],
        seed=seed_for(seed, "authenticity"),
        confidence=confidence,
    )
    cohorts = two_cohort_attack(
        synthetic.array,
        None if other_double is None else other_double.array,
        train.array,
        holdout.array,
        train_groups=groups[0],
        holdout_groups=groups[1],
        train_labels=train.labels,
        holdout_labels=holdout.labels,
        rule="threshold" if other_double is None else "nearer",
        permutations=permutations,
        seed=seed_for(seed, "two cohorts"),
        confidence=confidence,
    )
    last = list(spaces)[-1]
    curve = release_size_curve(
        spaces[last].synthetic,
        spaces[last].train,
        spaces[last].holdout,
        train_groups=groups[0],
        holdout_groups=groups[1],
        train_labels=train.labels,
        holdout_labels=holdout.labels,
        authentic=authenticity.authentic,
        copies=copies,
        sizes=sizes,
        orders=orders,
        seed=seed_for(seed, "release size"),
        confidence=confidence,
    )
    if attributes is None:
        attributes = {"label": (synthetic.labels, train.labels, holdout.labels)}
    guesses = [
        _guess(space, spaces[space], attribute, values, groups, permutations, seed, confidence)
        for attribute, values in attributes.items()
        for space in spaces
    ]
    evidence = {
        "membership": joint.to_json(),
        "two_cohorts": {"space": name, **cohorts.to_json()},
        "authenticity": {"space": name, **authenticity.to_json()},
        "release_size": {"space": last, **curve.to_json()},
        "attributes": guesses,
    }
    curves = {space: result.curves for space, result in joint.spaces.items()}
    return ReleaseOnly(evidence, ReleaseOnlyMaterial(curves, authenticity.ratios, curve))


def _guess(
    space: str,
    features: Space,
    attribute: str,
    values: Values,
    groups: tuple[np.ndarray, np.ndarray],
    permutations: int,
    seed: int,
    confidence: float,
) -> dict[str, Any]:
    """One attribute in one space; where the release does not carry it, that it was not measured and why."""
    try:
        result = attribute_disclosure(
            features.synthetic,
            values[0],
            features.train,
            values[1],
            features.holdout,
            values[2],
            attribute=attribute,
            train_groups=groups[0],
            holdout_groups=groups[1],
            permutations=permutations,
            seed=seed_for(seed, "attribute", attribute),
            confidence=confidence,
        )
    except DataDoubleError as error:
        return {"attribute": attribute, "space": space, "measured": False, "reason": str(error)}
    return {"space": space, "measured": True, **result.to_json()}
