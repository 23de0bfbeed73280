"""Where the lungs are in a CT volume: the two largest air regions inside the body."""

import numpy as np

AIR_HU = -400.0
"""Below are lungs, airways and the room; above are vessels, muscle, bone and fat."""

_SIDE = 128  # pixels in which the search is made
_LEAST_MM3 = 100_000.0  # a tenth of a litre: less is no lung


def subsample(slice_hu: np.ndarray) -> tuple[np.ndarray, int]:
    """Return each n-th row and column of an (H, W) slice, and n, so that at most 128 are left on the long side."""
    step = max(1, -(-max(slice_hu.shape) // _SIDE))
    return slice_hu[::step, ::step], step


def lung_box(
    volume: np.ndarray, spacing: tuple[float, float, float], margin_mm: float = 10.0
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]] | None:
    """Find the box of the lungs.

    Parameters
    ----------
    volume
        HU, (z, h, w).
    spacing
        Millimetres (z, y, x) of `volume` as it is.
    margin_mm
        Added on each side of rows, columns and slices.

    Returns
    -------
    tuple or None
        First slice, row and column and the ones after the last; None where no air region inside the body
        holds a tenth of a litre.
    """
    from scipy.ndimage import binary_opening, find_objects, label

    air = volume < AIR_HU
    # A thin bridge (the arm's skin fold, a tube) must not join the lungs to the room.
    air = np.stack([binary_opening(one, iterations=1) for one in air])
    regions, count = label(air)
    if not count:
        return None
    sizes = np.bincount(regions.ravel(), minlength=count + 1)
    edge = np.concatenate(
        [regions[:, 0].ravel(), regions[:, -1].ravel(), regions[:, :, 0].ravel(), regions[:, :, -1].ravel()]
    )
    sizes[0] = 0
    sizes[np.unique(edge)] = 0  # what reaches the border of the picture is the room
    least = _LEAST_MM3 / float(np.prod(spacing))
    if len(volume) == 1:
        least = 2_000.0 / (spacing[1] * spacing[2])  # 20 cm2 in a single slice
    kept = [int(index) for index in np.argsort(-sizes)[:2] if sizes[index] >= least]
    if not kept:
        return None
    boxes = [box for box in (find_objects(regions)[index - 1] for index in kept) if box is not None]
    limits = []
    for axis, (length, step) in enumerate(zip(volume.shape, spacing, strict=True)):
        margin = int(np.ceil(margin_mm / step)) if margin_mm > 0 else 0
        first = min(box[axis].start for box in boxes) - margin
        last = max(box[axis].stop for box in boxes) + margin
        limits.append((max(first, 0), min(last, length)))
    return limits[0], limits[1], limits[2]
