"""Every plot of a report, from the evidence and the parts' arrays; None where there is nothing to draw."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from datadouble.audit.report.figures import fidelity, privacy, training, usefulness
from datadouble.audit.report.numbers import at, section
from datadouble.audit.report.training_run import read_curves

Arrays = Mapping[str, Mapping[str, np.ndarray]]

SPECKLE = {
    "local_snr": "signal to noise",
    "local_contrast": "local contrast",
    "lateral_width": "width, lateral",
    "axial_width": "width, axial",
}
LESIONS = {
    "area": "area, share of picture",
    "x": "place, left to right",
    "depth": "depth",
    "taller_than_wide": "height / width",
    "orientation": "tilt, degrees",
    "eccentricity": "eccentricity",
    "circularity": "circularity",
    "solidity": "solidity",
}


def draw_plots(evidence: dict[str, Any], arrays: Arrays, run: Path | None) -> dict[str, Any]:
    """Data addresses by name; ``lesions`` is a dictionary of them by mask class."""
    found = section(evidence, "fidelity")
    overall = section(found, "overall")
    classes = {name: part for name, part in section(found, "classes").items() if isinstance(part, dict)}
    neighbours, copies = arrays.get("neighbours", {}), arrays.get("copies", {})
    texture = arrays.get("texture", {})
    curves = read_curves(run) if run else None
    nothing = np.zeros(0)
    return {
        "kid": fidelity.distance_plot(overall, classes, "kid"),
        "fd": fidelity.distance_plot(overall, classes, "fd"),
        "manifold": fidelity.manifold_plot(overall),
        "spectrum": fidelity.spectrum_plot(texture),
        "grey": fidelity.grey_plot(texture),
        "speckle": fidelity.speckle_plot(section(found, "texture.overall.speckle"), SPECKLE),
        "lesions": _lesions(arrays.get("lesions", {})),
        "modes": fidelity.modes_plot(_dictionaries(at(found, "coverage.modes"))),
        "recall": privacy.recall_plot(section(evidence, "controls.recall")),
        "copies": privacy.copy_plot(
            copies.get("scores", nothing),
            copies.get("control_scores", nothing),
            copies.get("threshold", nothing),
        ),
        "similarity": privacy.similarity_plot(
            neighbours.get("similarities", nothing), neighbours.get("control", nothing)
        ),
        "membership": _membership(evidence, arrays.get("release_only", {})),
        "release_size": privacy.release_size_plot(_dictionaries(at(evidence, "privacy.release_size.points"))),
        "loss_by_time": privacy.loss_by_time_plot(
            _dictionaries(at(evidence, "privacy.model_access.loss_by_time"))
        ),
        **_usefulness(evidence),
        "realism": _realism(evidence),
        "training": training.training_plot(curves) if curves else None,
        "training_side": training.side_plot(curves) if curves else None,
    }


def _dictionaries(values: Any) -> list[dict[str, Any]]:
    return [value for value in values or [] if isinstance(value, dict)]


def _lesions(arrays: Mapping[str, np.ndarray]) -> dict[str, str]:
    by_class: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
    for key in arrays:
        name, _, rest = key.rpartition("/synthetic")[0].rpartition("/")
        if key.endswith("/synthetic") and f"{name}/{rest}/real" in arrays:
            by_class.setdefault(name, {})[rest] = (arrays[key], arrays[f"{name}/{rest}/real"])
    ordered = {
        name: {key: values[key] for key in (*LESIONS, *sorted(set(values) - set(LESIONS))) if key in values}
        for name, values in by_class.items()
    }
    drawn = {name: fidelity.lesion_plot(values, LESIONS) for name, values in ordered.items()}
    return {name: plot for name, plot in drawn.items() if plot}


def _membership(evidence: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> str | None:
    curves = {
        key.removesuffix("/fpr"): (arrays[key], arrays[key.removesuffix("/fpr") + "/tpr"])
        for key in arrays
        if key.endswith("/fpr") and key.removesuffix("/fpr") + "/tpr" in arrays
    }
    spaces = section(evidence, "privacy.membership.spaces")
    others = [space.get("holdout_patients") for space in spaces.values() if isinstance(space, dict)]
    named = {}
    for name, curve in curves.items():
        auc = at(spaces.get(name), "auc.value")
        named[f"{name}, AUC {auc:.2f}" if isinstance(auc, float) else name] = curve
    return privacy.membership_plot(named, others[0] if others else None)


def _usefulness(evidence: dict[str, Any]) -> dict[str, str | None]:
    classified = section(evidence, "usefulness.classification")
    arms = {name: arm for name, arm in section(classified, "arms").items() if isinstance(arm, dict)}
    segmented = section(evidence, "usefulness.segmentation")
    outlined = {name: arm for name, arm in section(segmented, "arms").items() if isinstance(arm, dict)}
    margin = classified.get("margin")
    sizes = {
        str(arm.get("words", name)): [part.get("dice") or {} for part in _dictionaries(arm.get("quintiles"))]
        for name, arm in outlined.items()
    }
    return {
        "utility_arms": usefulness.arms_plot(arms, "AUC on unseen real pictures", "auc", margin),
        "utility_roc": usefulness.roc_plot(
            {str(arm.get("words", name)): arm.get("roc") for name, arm in arms.items()},
            x="false positive rate (1 − specificity)",
            y="sensitivity",
        ),
        "segmentation_arms": usefulness.arms_plot(
            outlined, "Dice on unseen real pictures", "dice", segmented.get("margin")
        ),
        "segmentation_sizes": usefulness.size_plot(sizes, "Dice"),
    }


def _realism(evidence: dict[str, Any]) -> str | None:
    found = section(evidence, "realism.discriminator")
    return usefulness.roc_plot(
        {"synthetic or real": found.get("roc")} if found else {},
        x="real pictures called synthetic",
        y="synthetic pictures found",
    )
