"""Find drawn dots: the dotted lines between calipers and the lone dots that some scanners leave."""

import numpy as np

from datadouble.cohort.deidentify.text import top_hat
from datadouble.cohort.deidentify.types import Annotation, Found, box_of

CHAIN = 9  # px between the dots of one line
BORDER = 11


def find_dots(image: np.ndarray) -> np.ndarray:
    """Return the pixels of dots that are too small both ways to have passed through an ultrasound beam.

    Parameters
    ----------
    image
        uint8 array of shape (H, W).

    Returns
    -------
    numpy.ndarray
        Boolean array of shape (H, W). A calcification is smeared sideways by the beam, a drawn dot of two
        pixels is not: that is what tells them apart.
    """
    import cv2
    from scipy.ndimage import label

    height, width = image.shape
    if min(height, width) <= 2 * BORDER:
        return np.zeros(image.shape, bool)
    sharp = np.minimum(top_hat(image, 1, 4), top_hat(image, 4, 1))
    spots = np.minimum(top_hat(image, 5, 5), top_hat(image, 1, 5) + top_hat(image, 5, 1))
    calm = cv2.blur(np.minimum(spots, 60), (41, 41)) + 2
    seeds = (sharp > 70) & (spots > 7 * calm)
    seeds[:BORDER] = seeds[-BORDER:] = False
    seeds[:, :BORDER] = seeds[:, -BORDER:] = False
    wide = top_hat(image, 9, 9)
    labels, count = label(seeds, structure=np.ones((3, 3)))
    strong = np.zeros(image.shape, bool)
    for index in range(1, count + 1):
        rows, columns = np.nonzero(labels == index)
        y, x = int(rows[0]), int(columns[0])
        window = np.s_[y - 9 : y + 10, x - 9 : x + 10]
        parts, _ = label(wide[window] > 0.5 * spots[y, x], structure=np.ones((3, 3)))
        middle = parts[min(9, y), min(9, x)]
        if middle and (parts == middle).sum() <= 14:
            strong[window] |= parts == middle
    if label(strong, structure=np.ones((3, 3)))[1] < 5:
        return strong
    # A dotted line: its fainter dots count where they continue the chain.
    weak = (np.minimum(top_hat(image, 1, 5), top_hat(image, 5, 1)) > 25) & (spots > 3 * calm)
    parts, _ = label(weak | strong, structure=np.ones((3, 3)))
    sizes = np.bincount(parts.ravel())
    weak &= sizes[parts] <= 14
    kept = strong.copy()
    reach = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * CHAIN + 1, 2 * CHAIN + 1))
    for _ in range(12):
        near = cv2.dilate(kept.astype(np.uint8), reach) > 0
        more = kept | (weak & near & _in_line(kept, weak))
        if (more == kept).all():
            break
        kept = more
    return kept


def _in_line(kept: np.ndarray, weak: np.ndarray) -> np.ndarray:
    """Return weak pixels that continue at least three kept dots in a straight line."""
    result = np.zeros(kept.shape, bool)
    dots = np.argwhere(kept).astype(float)
    for y, x in np.argwhere(weak & ~kept):
        delta = dots - (y, x)
        distance = np.hypot(delta[:, 0], delta[:, 1])
        close = (distance < 4 * CHAIN) & (distance > 0)
        if close.sum() < 4:
            continue
        angle = np.arctan2(delta[close, 0], delta[close, 1]) % np.pi
        nearest = angle[int(np.argmin(distance[close]))]
        aligned = np.abs((angle - nearest + np.pi / 2) % np.pi - np.pi / 2) < 0.16
        result[y, x] = aligned.sum() >= 4
    return result


def dotted_lines(dots: np.ndarray) -> list[Found]:
    """Group dots of a boolean (H, W) array into lines of kind ``"dotted-line"``."""
    import cv2
    from scipy.ndimage import label

    grown = cv2.dilate(dots.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    joined = cv2.dilate(dots.astype(np.uint8), np.ones((CHAIN, CHAIN), np.uint8))
    labels, count = label(joined, structure=np.ones((3, 3)))
    return [
        Found(Annotation("dotted-line", box_of(grown & (labels == index)), 0.8), grown & (labels == index))
        for index in range(1, count + 1)
    ]
