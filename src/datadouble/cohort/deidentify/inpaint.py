"""Fill holes in ultrasound pictures with speckle that matches the surroundings.

The hole is cut into small tiles. For each tile the picture nearby, at about the same depth, is searched for
the place whose rim agrees best with the rim of the tile (exemplar-based inpainting: Criminisi et al., IEEE
Trans Image Process 2004;13:1200). Its pixels are copied, speckle and all, and the smooth part of the
disagreement along the rim is spread over the tile by a membrane (Poisson image editing: Perez et al., ACM
Trans Graph 2003;22:313), so that no edge of the copy shows.
"""

import numpy as np

TILE = 18
RIM = 4
REACH = (14, 70)  # how far a source may lie, rows and columns: speckle changes with depth, so few rows


def _disc(radius: int) -> np.ndarray:
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return (x * x + y * y <= radius * radius + 1).astype(np.uint8)


def _membrane(values: np.ndarray, known: np.ndarray, smoothing: float = 1.5) -> np.ndarray:
    """Spread `values`, known where `known`, harmonically over the rest of a small tile, shape (h, w)."""
    from scipy.ndimage import distance_transform_edt, gaussian_filter

    if not known.any():
        return np.zeros_like(values)
    weight = gaussian_filter(known.astype(np.float64), smoothing, mode="constant")
    smooth = gaussian_filter(np.where(known, values, 0.0), smoothing, mode="constant") / np.maximum(
        weight, 1e-6
    )
    nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
    field = smooth[tuple(nearest)]
    boundary = smooth
    for _ in range(60):  # Jacobi sweeps; tiles are under 30 px, the start is close
        padded = np.pad(field, 1, mode="edge")
        mean = (padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]) / 4
        field = np.where(known, boundary, mean)
    return field


def _tiles(mask: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Cut the bounding boxes of the connected holes into tiles ``(y0, y1, x0, x1)`` of at most `TILE` px."""
    from scipy.ndimage import find_objects, label

    tiles = []
    labels, _ = label(mask, structure=np.ones((3, 3)))
    for rows, columns in find_objects(labels):
        height, width = rows.stop - rows.start, columns.stop - columns.start
        down, across = -(-height // TILE), -(-width // TILE)
        for i in range(down):
            for j in range(across):
                y0, y1 = rows.start + height * i // down, rows.start + height * (i + 1) // down
                x0, x1 = columns.start + width * j // across, columns.start + width * (j + 1) // across
                if mask[y0:y1, x0:x1].any():
                    tiles.append((y0, y1, x0, x1))
    return tiles


def _best_source(
    work: np.ndarray, usable: np.ndarray, tile: tuple[int, int, int, int], hole: np.ndarray, rim: np.ndarray
) -> tuple[int, int] | None:
    """Return the upper left corner of the patch nearby that agrees best with the rim of a tile."""
    import cv2

    y0, y1, x0, x1 = tile
    for factor in (1, 2, 4):
        top, bottom = max(0, y0 - REACH[0] * factor), min(work.shape[0], y1 + REACH[0] * factor)
        left, right = max(0, x0 - REACH[1] * factor), min(work.shape[1], x1 + REACH[1] * factor)
        area, good = work[top:bottom, left:right], usable[top:bottom, left:right].astype(np.float32)
        needed = (hole | rim).astype(np.float32)
        covered = cv2.matchTemplate(good, needed, cv2.TM_CCORR)
        allowed = covered > needed.sum() - 0.5
        if not allowed.any():
            continue
        cost = cv2.matchTemplate(area, work[y0:y1, x0:x1], cv2.TM_SQDIFF, mask=rim.astype(np.float32))
        rows, columns = np.mgrid[top : top + cost.shape[0], left : left + cost.shape[1]]
        # A small price on distance in depth breaks ties in favour of speckle of the same size.
        cost = cost / max(rim.sum(), 1) + 2.0 * np.abs(rows - y0) + 0.1 * np.abs(columns - x0)
        cost[~allowed] = np.inf
        best = np.unravel_index(int(np.argmin(cost)), cost.shape)
        return top + int(best[0]), left + int(best[1])
    return None


def inpaint_speckle(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Fill the masked pixels with speckle copied from nearby, at the same depth.

    Parameters
    ----------
    image
        uint8 array of shape (H, W).
    mask
        Boolean array of shape (H, W), true where the picture is to be replaced.

    Returns
    -------
    numpy.ndarray
        uint8 array of shape (H, W), equal to `image` outside `mask`. The same input gives the same output.
    """
    import cv2
    from scipy.ndimage import binary_dilation

    mask = mask.astype(bool)
    if not mask.any() or mask.all():
        return image.copy()
    work = image.astype(np.float32)
    unknown = mask.copy()  # still to be filled
    usable = ~mask  # only original pixels are sources
    height, width = image.shape
    for y0, y1, x0, x1 in _tiles(mask):
        if not unknown[y0:y1, x0:x1].any():
            continue
        hole_only = np.zeros_like(mask)
        hole_only[y0:y1, x0:x1] = unknown[y0:y1, x0:x1]
        tile = (max(0, y0 - RIM), min(height, y1 + RIM), max(0, x0 - RIM), min(width, x1 + RIM))
        window = np.s_[tile[0] : tile[1], tile[2] : tile[3]]
        hole = hole_only[window]
        rim = binary_dilation(hole, structure=_disc(RIM)) & ~unknown[window]
        if not rim.any():
            continue
        source = _best_source(work, usable, tile, hole, rim)
        if source is None:
            continue
        copied = work[source[0] : source[0] + hole.shape[0], source[1] : source[1] + hole.shape[1]]
        offset = _membrane(work[window] - copied, rim)
        work[window] = np.where(hole, np.clip(copied + offset, 0, 255), work[window])
        unknown[window] &= ~hole
    if unknown.any():  # nothing to copy from: smooth interpolation is better than leaving the annotation
        filled = cv2.inpaint(np.round(work).astype(np.uint8), unknown.astype(np.uint8), 3, cv2.INPAINT_TELEA)
        work[unknown] = filled[unknown]
    return np.where(mask, np.round(work), image).astype(np.uint8)
