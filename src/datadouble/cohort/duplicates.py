"""Finding pictures that look alike: the same scan twice, with other markers, gain, crop or mirrored.

Whole pictures first: a 64-bit perceptual hash (signs of the low DCT coefficients against their median; Zauner
2010) proposes pairs, and the correlation of small high-passed thumbnails decides, over small shifts. High-passing
takes away what all scans of one kind share (bright skin above, dark depth below); clipping takes away what only one
twin may have (burned-in words and calipers). Pieces second: crops are found by their texture (see `crops`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from datadouble.cohort.cohort import Cohort
from datadouble.cohort.crops import SIDE as CROP_SIDE
from datadouble.cohort.crops import find_crops
from datadouble.cohort.pixels import fit_square, to_grey

if TYPE_CHECKING:
    import pandas as pd

THRESHOLD = 0.5
"""Least correlation of a look-alike.

On BUSI the pairs above 0.40 that were looked at show one patient and view, and the first false pairs stand at
0.38; 0.5 leaves a margin. Raise it where the anatomy is aligned and all scans are alike (chest CT).
"""

MAX_HAMMING = 22
"""Greatest distance of two hashes at which a pair is looked at. On BUSI every pair whose unshifted thumbnails
correlate by 0.5 or more is within it."""

MOST_SEARCHED = 2_000
"""Pictures up to which crops are searched unasked: a quarter of an hour on one idle core."""

_SIDE = 64  # thumbnail, pixels
_HIGH_PASS_SIGMA = 4.0  # thumbnail pixels
_CLIP = 3.0  # robust standard deviations
_MAX_SHIFT = 6  # thumbnail pixels: a tenth of the picture
_BLOCK = 2048  # pictures on each side of a block of hash distances: 16 MB
_PAIRS = 1024  # pairs correlated at a time


@dataclass(frozen=True)
class LookAlike:
    """Two pictures (indices, first < second) that look alike, and why.

    Attributes
    ----------
    similarity : float
        A correlation up to 1: of small pictures for a whole one, of fine texture over the overlap for a piece.
    mirrored : bool
        One of them is turned left to right.
    kind
        ``"whole"``: the pictures; ``"crop"``: one shows a piece of the other; ``"part"``: they share a piece, and more
        of what both show differs.
    overlap : float
        Of a piece: the share of the wider picture's area whose texture agrees. 1 for a whole picture.
    """

    first: int
    second: int
    similarity: float
    mirrored: bool = False
    kind: Literal["whole", "crop", "part"] = "whole"
    overlap: float = 1.0


@dataclass(frozen=True)
class DuplicateGroups:
    """What `find_duplicates` found.

    Attributes
    ----------
    groups : tuple of tuple of int
        Indices of the pictures of each group of two or more, in ascending order.
    pairs : tuple of LookAlike
        The pairs that made the groups.
    conflicts : tuple of LookAlike
        The pairs among them whose labels differ; empty where no labels were given.
    crops : bool
        Whether crops were searched.
    """

    groups: tuple[tuple[int, ...], ...]
    pairs: tuple[LookAlike, ...]
    conflicts: tuple[LookAlike, ...]
    crops: bool = False

    @property
    def pictures(self) -> int:
        """How many pictures have a look-alike."""
        return sum(len(group) for group in self.groups)


def find_duplicates(
    images: Cohort | Iterable[np.ndarray],
    labels: Sequence[str] | None = None,
    *,
    threshold: float = THRESHOLD,
    max_hamming: int = MAX_HAMMING,
    crops: bool | None = None,
) -> DuplicateGroups:
    """Find look-alikes among pictures, mirrored ones too.

    Time grows with the square of the number of pictures: whole pictures take about 3 s for 1,000 on one core, reading
    included; the search for crops takes minutes (see `datadouble.cohort.crops.find_crops`). Memory: 34 kB a picture
    without crops.

    Parameters
    ----------
    images
        A cohort, or pictures (H, W) or (H, W, 3), uint8 or uint16, of any sizes.
    labels
        One a picture, to find conflicts; a cohort brings its own.
    threshold
        Least correlation of a look-alike, in (0, 1].
    max_hamming
        Greatest hash distance at which a pair is looked at, of 64.
    crops
        Also search each picture for pieces of the others. None: where there are at most `MOST_SEARCHED`.

    Notes
    -----
    Groups are connected components: if A looks like B and B like C, all three are one group.
    """
    if isinstance(images, Cohort):
        cohort = images
        labels = [str(label) for label in cohort.table["label"]] if labels is None else labels
        images = (cohort.image(index) for index in range(len(cohort)))
    small: list[np.ndarray] = []
    plain, mirrored = _describe(images if crops is False else _kept_small(images, small))
    searched = len(small) > 1 and (crops or len(small) <= MOST_SEARCHED)
    pairs: dict[tuple[int, int], LookAlike] = {}
    for is_mirrored, others in ((False, plain), (True, mirrored)):
        for first, second in _near_hashes(plain.hashes, others.hashes, max_hamming):
            similarity = _correlate(plain.spectra[first], others.spectra[second])
            for hit in np.flatnonzero(similarity >= threshold):
                key = (int(first[hit]), int(second[hit]))
                known = pairs.get(key)
                if known is None or similarity[hit] > known.similarity:
                    pairs[key] = LookAlike(*key, round(float(similarity[hit]), 4), is_mirrored)
    n = len(plain.hashes)
    if searched:
        pairs |= {
            crop[:2]: LookAlike(*crop) for crop in find_crops(np.stack(small), _components(n, list(pairs)))
        }
    found = tuple(pairs[key] for key in sorted(pairs))
    conflicts = tuple(p for p in found if labels is not None and labels[p.first] != labels[p.second])
    return DuplicateGroups(_components(n, list(pairs)), found, conflicts, searched)


def mark_duplicates(
    cohort: Cohort, *, threshold: float = THRESHOLD, crops: bool | None = None
) -> DuplicateGroups:
    """Find look-alikes and write the cohort's `duplicate_group` column: ``d0001`` ..., empty for the others.

    Groups are numbered by their first image id, so that the order of the rows does not matter. A run that was trained
    on the cohort's split carved its validation patients by the old groups: see `datadouble.cohort.mend`.
    """
    found = find_duplicates(cohort, threshold=threshold, crops=crops)
    cohort.replace_table(grouped(cohort, found))
    return found


def grouped(cohort: Cohort, found: DuplicateGroups) -> "pd.DataFrame":
    """Return the cohort's table with its `duplicate_group` column filled anew."""
    table = cohort.table.copy()
    table["duplicate_group"] = group_names(found, [str(i) for i in table["image_id"]])
    return table


def group_names(found: DuplicateGroups, image_ids: Sequence[str]) -> list[str]:
    """Return each picture's group name, ``""`` where it has none."""
    names = [""] * len(image_ids)
    ordered = sorted(found.groups, key=lambda group: min(image_ids[index] for index in group))
    for number, group in enumerate(ordered, start=1):
        for index in group:
            names[index] = f"d{number:04d}"
    return names


def perceptual_hash(image: np.ndarray) -> int:
    """Return the 64-bit perceptual hash of a picture (H, W) or (H, W, 3)."""
    signs = _hash(_thumbnail(image))
    return sum(1 << bit for bit, sign in enumerate(signs) if sign > 0)


@dataclass(frozen=True)
class _Described:
    """Hashes (n, 64) as -1/+1, and the spectra (n, 64, 33) of thumbnails of norm 1."""

    hashes: np.ndarray
    spectra: np.ndarray


def _describe(images: Iterable[np.ndarray]) -> tuple[_Described, _Described]:
    """Describe the pictures, and the pictures mirrored."""
    from scipy.fft import rfft2

    hashes: tuple[list, list] = ([], [])
    spectra: tuple[list, list] = ([], [])
    for image in images:
        thumbnail = _thumbnail(image)
        detail = _high_pass(thumbnail)
        for side, step in enumerate((1, -1)):
            hashes[side].append(_hash(thumbnail[:, ::step]))
            spectra[side].append(rfft2(detail[:, ::step]))

    def stack(side: int) -> _Described:
        if not hashes[side]:
            return _Described(
                np.zeros((0, 64), np.float32), np.zeros((0, _SIDE, _SIDE // 2 + 1), np.complex64)
            )
        return _Described(np.stack(hashes[side]), np.stack(spectra[side]))

    return stack(0), stack(1)


def _kept_small(images: Iterable[np.ndarray], small: list[np.ndarray]) -> Iterable[np.ndarray]:
    """Hand the pictures on, and keep each as (128, 128) uint8."""
    for image in images:
        small.append(fit_square(np.round(_grey(image)).astype(np.uint8), CROP_SIDE))
        yield image


def _grey(image: np.ndarray) -> np.ndarray:
    """Return (H, W) float32 in [0, 255]; 16-bit pictures are stretched to their own range."""
    grey = to_grey(image).astype(np.float32)
    if image.dtype != np.uint8:
        low, high = np.percentile(grey, (0.5, 99.5))
        grey = np.clip((grey - low) / max(high - low, 1.0), 0, 1) * 255
    return grey


def _thumbnail(image: np.ndarray) -> np.ndarray:
    """Return (64, 64) float32 in about [0, 255]."""
    from PIL import Image

    resized = Image.fromarray(_grey(image)).resize((_SIDE, _SIDE), Image.Resampling.BOX)
    return np.asarray(resized, dtype=np.float32)


def _hash(thumbnail: np.ndarray) -> np.ndarray:
    """Return 64 values -1 or +1: whether a low DCT coefficient is above the median of all but the mean."""
    from scipy.fft import dctn

    small = thumbnail.reshape(_SIDE // 2, 2, _SIDE // 2, 2).mean((1, 3))
    low = dctn(small, norm="ortho")[:8, :8].ravel()
    return np.where(low > np.median(low[1:]), 1.0, -1.0).astype(np.float32)


def _high_pass(thumbnail: np.ndarray) -> np.ndarray:
    """Return the thumbnail less its blur, clipped, with mean 0 and norm 1 (all 0 for a constant picture)."""
    from scipy.ndimage import gaussian_filter

    detail = thumbnail - gaussian_filter(thumbnail, _HIGH_PASS_SIGMA)
    spread = (
        1.4826 * np.median(np.abs(detail)) + 1.0
    )  # one grey level keeps flat pictures from being all noise
    detail = np.clip(detail / spread, -_CLIP, _CLIP)
    detail -= detail.mean()
    norm = float(np.linalg.norm(detail))
    return (detail / norm if norm > 1e-3 else np.zeros_like(detail)).astype(np.float32)


def _near_hashes(a: np.ndarray, b: np.ndarray, max_hamming: int) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """Yield index arrays (first, second), first < second, of hashes a[first] near b[second]."""
    for i in range(0, len(a), _BLOCK):
        for j in range(i, len(b), _BLOCK):
            # the product of -1/+1 vectors counts agreements less disagreements
            near = a[i : i + _BLOCK] @ b[j : j + _BLOCK].T >= 64 - 2 * max_hamming
            first, second = np.nonzero(np.triu(near, 1) if i == j else near)
            for start in range(0, len(first), _PAIRS):
                yield first[start : start + _PAIRS] + i, second[start : start + _PAIRS] + j


def _correlate(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the greatest correlation of each pair of spectra over (cyclic) shifts of up to 6 pixels."""
    from scipy.fft import irfft2

    correlation = irfft2(first * np.conj(second), s=(_SIDE, _SIDE))
    near = np.r_[-_MAX_SHIFT : _MAX_SHIFT + 1]
    return correlation[:, near][:, :, near].max((1, 2))


def _components(count: int, pairs: Sequence[tuple[int, int]]) -> tuple[tuple[int, ...], ...]:
    """Return the connected components of two or more."""
    parent = list(range(count))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for first, second in pairs:
        parent[root(second)] = root(first)
    groups: dict[int, list[int]] = {}
    for index in sorted({i for pair in pairs for i in pair}):
        groups.setdefault(root(index), []).append(index)
    return tuple(sorted(tuple(group) for group in groups.values()))
