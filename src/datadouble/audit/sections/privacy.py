"""Privacy: neighbours, the release-only attacker, copies, and the gate with its controls."""

from __future__ import annotations

from typing import Any

import numpy as np

from datadouble.audit.controls import run_controls
from datadouble.audit.efforts import Effort
from datadouble.audit.features import extract_features
from datadouble.audit.features.base import Features
from datadouble.audit.material import AuditMaterial
from datadouble.audit.parts import Part
from datadouble.audit.pictures import Pictures
from datadouble.audit.privacy.copy_report import assess_copies
from datadouble.audit.privacy.first_look import look_for_copies
from datadouble.audit.privacy.gate import GateLimits, PrivacyGate
from datadouble.audit.privacy.membership import Space
from datadouble.audit.privacy.release_only import assess_release_only
from datadouble.audit.privacy.thumbnails import thumbnail_features
from datadouble.errors import DataDoubleError
from datadouble.randomness import seed_for
from datadouble.stats import holm

ATTRIBUTES = ("label", "site", "device")


def neighbours(material: AuditMaterial, effort: Effort) -> Part:
    """The CoLDiT paper's nearest training pictures. Arrays: ``pairs`` (k, 2) rows of double and real,
    ``pair_similarity`` (k,), ``similarities`` and ``control``: to the nearest training picture."""
    real = material.real_features
    look = look_for_copies(
        material.double_features,
        material.train(real),
        material.holdout(real),
        queries=effort.neighbours,
        seed=material.seed,
    )
    return Part(
        look.evidence,
        {
            "pairs": np.array([[pair.synthetic, pair.train] for pair in look.pairs], np.int64).reshape(-1, 2),
            "pair_similarity": np.array([pair.similarity for pair in look.pairs], np.float32),
            "similarities": look.similarities,
            "control": look.control,
        },
    )


def release_only(material: AuditMaterial, effort: Effort, other_double: Features | None = None) -> Part:
    """Membership, two cohorts, authenticity, attributes and release size, for whoever has the release alone.

    Arrays, for each feature space: ``<space>/fpr``, ``…/tpr``, ``…/members``, ``…/non_members``; and
    ``ratios/synthetic``, ``ratios/holdout``. Without a holdout nothing can be measured.
    """
    pictures, real_pictures = material.double_pictures, material.real_pictures
    double = _with_pixels(material.double_features, pictures)
    real = _with_pixels(material.real_features, real_pictures)
    train, holdout = material.train(real), material.holdout(real)
    if holdout is None:
        return Part({"measured": False, "note": "no holdout: nothing tells a member from anyone else"})
    thumbnails = Space(
        thumbnail_features(_same_rows(pictures, double)),
        thumbnail_features(_same_rows(real_pictures, train)),
        thumbnail_features(_same_rows(real_pictures, holdout)),
    )
    attributes = {
        name: tuple(
            cohort.table[name].to_numpy(dtype=str)[side.rows]
            for cohort, side in ((material.double, double), (material.real, train), (material.real, holdout))
        )
        for name in ATTRIBUTES
        if name in material.double.table and name in material.real.table
    }
    found = assess_release_only(
        double,
        train,
        holdout,
        name=material.extractor.name,
        more_spaces={"thumbnails": thumbnails},
        train_groups=material.split_groups(train).astype(str),
        holdout_groups=material.split_groups(holdout).astype(str),
        attributes={name: values for name, values in attributes.items() if (values[0] != "").any()},
        other_double=other_double,
        repeats=max(effort.repeats, 10),
        orders=effort.release_orders,
        permutations=effort.permutations,
        seed=seed_for(material.seed, "release only"),
    )
    arrays: dict[str, np.ndarray] = {}
    for name, curves in found.material.membership.items():
        arrays |= {f"{name}/{key}": np.asarray(value) for key, value in curves._asdict().items()}
    arrays["ratios/synthetic"] = found.material.ratios.synthetic
    arrays["ratios/holdout"] = found.material.ratios.holdout
    evidence = found.evidence
    evidence["attributes"] = _worst_attribute(evidence["attributes"])
    return Part({"measured": True, **evidence}, arrays)


def make_gate(material: AuditMaterial, limits: GateLimits) -> PrivacyGate:
    """The privacy gate, calibrated on the holdout.

    Raises
    ------
    DataDoubleError
        Without a holdout.
    """
    real = material.real_pictures
    train, unseen = material.train(real), material.holdout(real)
    if unseen is None:
        raise DataDoubleError(
            "the gate needs unseen patients", where="holdout", remedy="run `datadouble split`"
        )

    def network(pictures: np.ndarray) -> np.ndarray:
        found = extract_features(list(pictures), material.extractor, cache_dir=material.cache / "features")
        return found.array

    return PrivacyGate(
        train.array,
        unseen.array,
        train_groups=material.split_groups(train).astype(str),
        unseen_groups=material.split_groups(unseen).astype(str),
        train_masks=train.masks,
        train_labels=train.labels,
        unseen_labels=unseen.labels,
        extract={material.extractor.name: network, "thumbnails": thumbnail_features},
        limits=limits,
        cache_dir=material.cache / "copies",
        seed=seed_for(material.seed, "gate"),
    )


def copies(material: AuditMaterial, gate: PrivacyGate) -> Part:
    """The search for copies, and what the gate says. Evidence: ``copies`` and ``gate``.

    Arrays: ``pairs`` (k, 2) rows of double and real, ``pair_score`` (k,), ``pair_copy`` (k,), ``pair_box`` and
    ``pair_train_box`` (k, 4) as fractions of the side, ``scores`` of the double, ``control_scores``, ``threshold``.
    """
    double, train = material.double_pictures, material.train(material.real_pictures)
    verdict = gate(np.asarray(double.array))
    found = assess_copies(double, train, gate, result=verdict)
    pairs = found.pairs
    arrays = {
        "pairs": np.array([[pair.synthetic, pair.train] for pair in pairs], np.int64).reshape(-1, 2),
        "pair_score": np.array([pair.score for pair in pairs]),
        "pair_copy": np.array([pair.copy for pair in pairs], np.uint8),
        "pair_mirrored": np.array([pair.mirrored for pair in pairs], np.uint8),
        "pair_box": np.array([pair.box for pair in pairs]).reshape(-1, 4),
        "pair_train_box": np.array([pair.train_box for pair in pairs]).reshape(-1, 4),
        "scores": found.scores,
        "control_scores": found.unseen,
        "threshold": np.array([found.evidence["threshold"]["threshold"]]),
    }
    return Part({"copies": found.evidence, "gate": verdict.to_json()}, arrays)


def controls(material: AuditMaterial, gate: PrivacyGate, effort: Effort) -> Part:
    """Planted copies, the overfitted double, and unseen patients who pose as a double."""
    real = material.real_pictures
    train, test = material.train(real), material.test(real)
    if test is None or material.roles.control == ("test",):
        unseen = np.zeros((0, *real.array.shape[1:]), np.uint8)  # none but the calibration patients are left
    else:
        unseen = np.asarray(test.array)
    found = run_controls(
        np.asarray(material.double_pictures.array),
        gate,
        unseen,
        train_masks=train.masks,
        shares=effort.control_shares,
        seed=seed_for(material.seed, "controls"),
    )
    return Part(found.to_json())


def _worst_attribute(guesses: list[dict[str, Any]]) -> dict[str, Any]:
    """The guesses, and the one that gives most away: ``p_value`` is its own, corrected for all of them (Holm)."""
    measured = [guess for guess in guesses if guess["measured"]]
    if not measured:
        return {"guesses": guesses}
    corrected = holm([guess["p_value"] for guess in measured])
    for guess, p_value in zip(measured, corrected, strict=True):
        guess["p_holm"] = float(p_value)
    worst = min(measured, key=lambda guess: (guess["p_value"], -guess["risk"]["value"]))
    keys = ("attribute", "space", "risk")
    return {"guesses": guesses, "p_value": worst["p_holm"], "worst": {key: worst[key] for key in keys}}


def _with_pixels(features: Features, pictures: Pictures) -> Features:
    """The features of pictures whose pixels could be read too: a mask of a wrong size costs a picture its pixels."""
    return features.where(np.isin(features.rows, pictures.rows))


def _same_rows(pictures: Pictures, features: Features) -> np.ndarray:
    """The pixels of the pictures that the features are of, in their order."""
    return pictures.array[np.searchsorted(pictures.rows, features.rows)]
