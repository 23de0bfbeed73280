"""Usefulness and realism: what networks make of the double."""

from __future__ import annotations

from dataclasses import replace

from datadouble.audit.efforts import Effort
from datadouble.audit.material import AuditMaterial
from datadouble.audit.parts import Part
from datadouble.audit.realism import assess_realism, linear_probe, plant_artefact
from datadouble.audit.utility.arms import PAPER_ARMS
from datadouble.audit.utility.assess import assess_utility
from datadouble.audit.utility.segmentation import assess_segmentation
from datadouble.randomness import seed_for


def utility(material: AuditMaterial, effort: Effort, grouping: str) -> Part:
    """Networks trained on synthetic and judged on real pictures of the test split."""
    test = material.test(material.real_pictures)
    lacking = _lacking(material, effort.utility)
    if lacking or test is None:
        return Part({"note": f"not measured: {', '.join(lacking)}"})
    found = assess_utility(
        material.double_pictures,
        material.train(material.real_pictures),
        test,
        grouping=grouping or None,
        classes=material.real.info.classes,
        preset=effort.utility,
        arms=effort.utility_arms or PAPER_ARMS,
        controls=not effort.utility_arms,
        resamples=max(effort.resamples, 200),
        cache=material.cache / "utility",
        seed=seed_for(material.seed, "utility"),
    )
    return Part(found)


def segmentation(material: AuditMaterial, effort: Effort) -> Part:
    """U-Nets trained on synthetic masks and judged on real ones."""
    test = material.test(material.real_pictures)
    lacking = _lacking(material, effort.segmentation)
    if not material.double_pictures.has_mask.any():
        lacking.append("the double has no masks")
    if lacking or test is None:
        return Part({"note": f"not measured: {', '.join(lacking)}"})
    found = assess_segmentation(
        material.double_pictures,
        material.train(material.real_pictures),
        test,
        preset=effort.segmentation,
        resamples=max(effort.resamples, 200),
        cache=material.cache / "segmentation",
        seed=seed_for(material.seed, "segmentation"),
    )
    return Part(found)


def _lacking(material: AuditMaterial, preset: str) -> list[str]:
    """Why nothing can be trained on one part of the patients and judged on another."""
    reasons = (
        ("left out by the effort", not preset),
        ("no train split", not material.roles.gallery),
        ("no test split", material.test(material.real_features) is None),
    )
    return [reason for reason, holds in reasons if holds]


def realism(material: AuditMaterial, effort: Effort) -> Part:
    """Can a network, or a line through features, tell the double from real pictures?"""
    if not effort.realism:
        return Part({"note": "not measured: left out by the effort"})
    reference = material.reference(material.real_pictures)
    discriminator = assess_realism(
        reference,
        material.double_pictures,
        preset=effort.realism,
        resamples=max(effort.resamples, 200),
        cache=material.cache,
        seed=seed_for(material.seed, "realism"),
    )
    # All from the same pixels, or the probe would see how a picture was resized, and the control with it.
    planted = replace(reference, array=plant_artefact(reference.array))
    probes = {}
    for name in (material.extractor.name, *effort.extractors):
        loaded = material.extractor if name == material.extractor.name else material.load(name)
        real, double, marked = (
            material.features_of(pictures, loaded)
            for pictures in (reference, material.double_pictures, planted)
        )
        probes[name] = linear_probe(
            real,
            double,
            planted=marked,
            name=name,
            resamples=max(effort.resamples, 200),
            seed=seed_for(material.seed, "probe", name),
        )
    return Part({"discriminator": discriminator, "probes": probes})
