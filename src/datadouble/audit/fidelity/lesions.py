"""Size, position and shape of lesions, from the masks (Zhou et al., npj Digit Med 2024, Fig. 2h).

A lesion is a connected piece of one mask class. Pictures were squashed to squares on both sides alike, so shapes
compare with each other and not with rulers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from datadouble.audit.evidence import named
from datadouble.audit.fidelity.comparison import DEFAULT_SIZES, Sizes, patient_share
from datadouble.audit.fidelity.distributions import compare_samples
from datadouble.progress import track
from datadouble.randomness import generator_for, seed_for

if TYPE_CHECKING:
    from datadouble.audit.pictures import Pictures

NO_MASKS = "not measured: no masks"
SPECK = 6  # pixels; a smaller piece has no shape: counted, not measured
LIMIT = 2000  # pictures a side that are measured
PROPERTIES = {
    "area": "share of the picture",
    "x": "share of the width",
    "depth": "share of the height",
    "taller_than_wide": "height / width",
    "orientation": "degrees from horizontal",
    "eccentricity": "0 round, 1 a line",
    "circularity": "1 round, less ragged or long",
    "solidity": "1 convex, less indented",
}


Drawn = dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]


class Lesions(NamedTuple):
    """What the masks of a set hold.

    ``values`` has one entry a lesion and property (:data:`PROPERTIES`); ``picture`` is the row each lesion is in.
    Counts are of pictures: ``n``, of these ``masked`` have a mask, of these ``empty`` hold no lesion; ``specks`` (n,)
    are pieces too small to measure. ``present`` says of each masked picture (rows ``masked_rows``) whether it holds a
    lesion.
    """

    values: dict[str, np.ndarray]
    picture: np.ndarray
    n: int
    masked_rows: np.ndarray
    present: np.ndarray
    specks: np.ndarray

    @property
    def masked(self) -> int:
        """Pictures that have a mask."""
        return len(self.masked_rows)

    @property
    def empty(self) -> int:
        """Masks that hold no lesion."""
        return int(np.sum(~self.present))

    def counts(self) -> dict[str, int]:
        """Everything that was counted, as JSON."""
        return {
            "pictures": self.n,
            "without_mask": self.n - self.masked,
            "empty_masks": self.empty,
            "lesions": len(self.picture),
            "specks": int(self.specks.sum()),
        }

    def where(self, keep: np.ndarray) -> Lesions:
        """The pictures picked by a boolean mask (n,)."""
        inside = keep[self.picture] if len(self.picture) else np.zeros(0, bool)
        masked = keep[self.masked_rows] if self.masked else np.zeros(0, bool)
        return Lesions(
            {key: values[inside] for key, values in self.values.items()},
            self.picture[inside],
            int(np.sum(keep)),
            self.masked_rows[masked],
            self.present[masked],
            np.where(keep, self.specks, 0),
        )


def measure_lesions(masks: np.ndarray, mask_class: int, has_mask: np.ndarray | None = None) -> Lesions:
    """Properties of every lesion of one class.

    Parameters
    ----------
    masks : ndarray
        (n, h, w) class ids.
    mask_class : int
        The id whose connected pieces (8 neighbours) are lesions.
    has_mask : ndarray of bool, optional
        (n,); rows without a mask are counted and left out. Default: all have one.

    Notes
    -----
    Circularity is 4 pi area / perimeter^2 with the perimeter's estimate for pixel outlines, at most 1. Eccentricity and
    orientation are those of the ellipse with the same second moments; orientation is folded to 0..90 degrees.
    """
    from skimage.measure import label, regionprops

    masks = np.asarray(masks)
    n, height, width = masks.shape
    has_mask = np.ones(n, bool) if has_mask is None else np.asarray(has_mask, bool)
    rows, present, picture, specks = np.flatnonzero(has_mask), [], [], np.zeros(n, dtype=np.int64)
    values: dict[str, list[float]] = {key: [] for key in PROPERTIES}
    for row in rows:
        plane = masks[row] == mask_class
        found = 0
        for region in regionprops(label(plane, connectivity=2)) if plane.any() else ():
            if region.area < SPECK:
                specks[row] += 1
                continue
            found += 1
            picture.append(int(row))
            y, x = region.centroid
            top, left, bottom, right = region.bbox
            perimeter = region.perimeter
            tilt = abs(float(np.degrees(region.orientation)))  # from the vertical axis, 0..90
            for key, value in (
                ("area", region.area / (height * width)),
                ("x", (x + 0.5) / width),
                ("depth", (y + 0.5) / height),
                ("taller_than_wide", (bottom - top) / (right - left)),
                ("orientation", 90.0 - tilt),
                ("eccentricity", region.eccentricity),
                (
                    "circularity",
                    min(4 * np.pi * region.area / perimeter**2, 1.0) if perimeter > 0 else np.nan,
                ),
                ("solidity", region.solidity),
            ):
                values[key].append(float(value))
        present.append(found > 0)
    return Lesions(
        {key: np.array(entries) for key, entries in values.items()},
        np.array(picture, dtype=np.int64),
        n,
        rows,
        np.array(present, dtype=bool),
        specks,
    )


def compare_lesions(
    synthetic: Lesions,
    reference: Lesions,
    counterpart: Lesions | None = None,
    *,
    synthetic_groups: np.ndarray,
    reference_groups: np.ndarray,
    counterpart_groups: np.ndarray | None = None,
    sizes: Sizes = DEFAULT_SIZES,
    seed: int = 0,
) -> dict[str, Any]:
    """Distances between the lesions of two sets, property by property, as JSON.

    Parameters
    ----------
    synthetic, reference, counterpart : Lesions
    synthetic_groups, reference_groups, counterpart_groups : ndarray
        Patient of each picture.

    Returns
    -------
    dict
        ``counts`` of both sides; ``present``, the share of masked pictures that hold such a lesion; ``properties``,
        each as :func:`~datadouble.audit.fidelity.distributions.compare_samples` gives it.
    """
    sides = {"synthetic": (synthetic, synthetic_groups), "real": (reference, reference_groups)}
    result: dict[str, Any] = {
        "counts": {key: lesions.counts() for key, (lesions, _) in sides.items()},
        "present": {
            key: named(
                patient_share(
                    lesions.present,
                    np.asarray(groups)[lesions.masked_rows],
                    sizes,
                    seed=seed_for(seed, "present", key),
                )
            )
            for key, (lesions, groups) in sides.items()
        },
    }
    other = counterpart if counterpart is not None and len(counterpart.picture) else None
    result["properties"] = {
        key: compare_samples(
            synthetic.values[key],
            reference.values[key],
            None if other is None else other.values[key],
            synthetic_groups=np.asarray(synthetic_groups)[synthetic.picture],
            reference_groups=np.asarray(reference_groups)[reference.picture],
            counterpart_groups=None if other is None else np.asarray(counterpart_groups)[other.picture],
            unit=unit,
            sizes=sizes,
            seed=seed_for(seed, "lesions", key),
        )
        for key, unit in PROPERTIES.items()
    }
    return result


def assess_lesions(
    synthetic: Pictures,
    reference: Pictures,
    counterpart: Pictures | None,
    *,
    mask_classes: Sequence[str],
    classes: Sequence[str] = (),
    sizes: Sizes = DEFAULT_SIZES,
    limit: int = LIMIT,
    seed: int = 0,
) -> tuple[dict[str, Any], Drawn]:
    """Lesions of a double against its reference: by mask class, and within each by label.

    Parameters
    ----------
    synthetic, reference : Pictures
    counterpart : Pictures or None
        Real pictures of other patients, for the floor; None, or without masks: the reference is halved.
    mask_classes : sequence of str
        Names of the mask's ids, the first being the background.
    classes : sequence of str
        Labels to repeat it for.
    limit : int
        Most pictures of each set that are measured; drawn at random.

    Returns
    -------
    dict
        ``measured`` (bool) and ``note``; ``mask_classes`` {name: comparison with ``classes`` {label: comparison}}.
    dict
        What a report draws: values of each property, ``{mask class: {property: (synthetic, real)}}``.
    """
    lacking = [
        name
        for name, side in (("the double", synthetic), ("the real cohort", reference))
        if side.masks is None or not side.has_mask.any()
    ]
    if lacking or len(mask_classes) < 2:
        where = f" in {' and '.join(lacking)}" if lacking else ""
        return {"measured": False, "note": NO_MASKS + where}, {}
    sides: list[Pictures] = [synthetic, reference]
    if counterpart is not None and counterpart.masks is not None and counterpart.has_mask.any():
        sides.append(counterpart)
    chosen = [
        np.sort(generator_for(seed, "lesions", i).permutation(len(side))[:limit])
        for i, side in enumerate(sides)
    ]
    groups = [side.groups[rows] for side, rows in zip(sides, chosen, strict=True)]
    labels = [side.labels[rows] for side, rows in zip(sides, chosen, strict=True)]
    result: dict[str, Any] = {"measured": True, "note": "", "mask_classes": {}}
    drawn: Drawn = {}
    for index, name in track(list(enumerate(mask_classes))[1:], "lesions"):
        found = []
        for side, rows in zip(sides, chosen, strict=True):
            assert side.masks is not None
            found.append(measure_lesions(side.masks[rows], index, side.has_mask[rows]))
        compared = _compare(found, groups, sizes, seed_for(seed, name))
        compared["classes"] = {
            label: _compare(
                [part.where(of == label) for part, of in zip(found, labels, strict=True)],
                groups,
                sizes,
                seed_for(seed, name, label),
            )
            for label in classes
        }
        result["mask_classes"][name] = compared
        drawn[name] = {key: (found[0].values[key], found[1].values[key]) for key in PROPERTIES}
    return result, drawn


def _compare(found: list[Lesions], groups: list[np.ndarray], sizes: Sizes, seed: int) -> dict[str, Any]:
    return compare_lesions(
        found[0],
        found[1],
        found[2] if len(found) > 2 else None,
        synthetic_groups=groups[0],
        reference_groups=groups[1],
        counterpart_groups=groups[2] if len(groups) > 2 else None,
        sizes=sizes,
        seed=seed,
    )
