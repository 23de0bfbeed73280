"""Fidelity: distances of features, texture, lesions, and the real modes that the double lacks."""

from __future__ import annotations

import numpy as np

from datadouble.audit.efforts import Effort
from datadouble.audit.fidelity.assess import assess_by_class, assess_fidelity
from datadouble.audit.fidelity.comparison import Sizes
from datadouble.audit.fidelity.coverage import assess_coverage
from datadouble.audit.fidelity.lesions import assess_lesions
from datadouble.audit.fidelity.texture import assess_texture
from datadouble.audit.material import AuditMaterial
from datadouble.audit.parts import Part


def distances(material: AuditMaterial, effort: Effort) -> Part:
    """Distances of features, overall and by class, by the first extractor and by any further ones."""
    sizes, seed = Sizes(effort.resamples, effort.repeats), material.seed
    double, real = material.double_features, material.real_features
    evidence = assess_by_class(
        double,
        material.reference(real),
        material.counterpart(real),
        material.extractor,
        classes=material.double.info.classes,
        sizes=sizes,
        seed=seed,
    )
    for name in effort.extractors:
        loaded = material.load(name)
        of_double, of_real = (material.features_of(side, loaded) for side in (material.double, material.real))
        evidence.setdefault("extractors", {})[name] = assess_fidelity(
            of_double,
            material.reference(of_real),
            material.counterpart(of_real),
            loaded,
            sizes=sizes,
            seed=seed,
        )
    return Part(evidence)


def texture(material: AuditMaterial, effort: Effort) -> Part:
    """Spectrum and speckle. Arrays: ``spectrum/<field of SpectrumCurve>``, ``grey_synthetic``, ``grey_real``."""
    real = material.real_pictures
    evidence, drawn = assess_texture(
        material.double_pictures,
        material.reference(real),
        material.counterpart(real),
        classes=material.double.info.classes,
        sizes=Sizes(effort.resamples, effort.repeats),
        seed=material.seed,
    )
    if drawn is None:
        return Part(evidence)
    arrays = {f"spectrum/{key}": values for key, values in drawn.spectrum._asdict().items()}
    return Part(evidence, arrays | {"grey_synthetic": drawn.grey_synthetic, "grey_real": drawn.grey_real})


def lesions(material: AuditMaterial, effort: Effort) -> Part:
    """Lesion size, place, shape. Arrays ``<mask class>/<property>/synthetic`` and ``…/real``: one value a lesion."""
    real = material.real_pictures
    evidence, drawn = assess_lesions(
        material.double_pictures,
        material.reference(real),
        material.counterpart(real),
        mask_classes=material.real.info.mask_classes,
        classes=material.double.info.classes,
        sizes=Sizes(effort.resamples, effort.repeats),
        seed=material.seed,
    )
    arrays = {}
    for name, properties in drawn.items():
        for key, (synthetic, reference) in properties.items():
            arrays[f"{name}/{key}/synthetic"], arrays[f"{name}/{key}/real"] = synthetic, reference
    return Part(evidence, arrays)


def coverage(material: AuditMaterial, effort: Effort) -> Part:
    """Real modes that the double lacks. Arrays of rows: ``uncovered``, ``mode<i>/real`` and ``mode<i>/nearest``."""
    real = material.real_features
    evidence, drawn = assess_coverage(
        material.double_features,
        material.reference(real),
        material.counterpart(real),
        sizes=Sizes(effort.resamples, effort.repeats),
        seed=material.seed,
    )
    if drawn is None:
        return Part(evidence)
    arrays = {"uncovered": np.asarray(drawn.uncovered_rows, np.int64)}
    for mode in drawn.modes:
        arrays[f"mode{mode.mode}/real"] = np.asarray(mode.rows, np.int64)
        arrays[f"mode{mode.mode}/nearest"] = np.asarray(mode.nearest_rows, np.int64)
    return Part(evidence, arrays)
