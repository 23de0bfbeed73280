"""Find calipers and the numerals beside them, by shape."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from datadouble.cohort.deidentify.text import top_hat
from datadouble.cohort.deidentify.types import Annotation, Found, box_of

BLUR = 2.0  # px; what is smoother than this is tissue
PEAK_DISTANCE = 9
PATTERNED = ("darts", "petals", "star")


def _high_pass(image: np.ndarray) -> np.ndarray:
    import cv2

    grey = image.astype(np.float32)
    return grey - cv2.GaussianBlur(grey, (0, 0), BLUR)


def _drawn(arm: float, thickness: float, diagonal: bool, dx: float, dy: float) -> np.ndarray:
    """Draw one anti-aliased cross, upright or diagonal, in a square of side 21 px."""
    side, fine = 21, 6
    axis = (np.arange(side * fine) + 0.5) / fine - side / 2
    x, y = np.meshgrid(axis - dx, axis - dy)
    if diagonal:
        x, y = (x + y) / np.sqrt(2), (x - y) / np.sqrt(2)
    half = thickness / 2
    cross = ((np.abs(x) < half) & (np.abs(y) < arm)) | ((np.abs(y) < half) & (np.abs(x) < arm))
    return cross.reshape(side, fine, side, fine).mean((1, 3)).astype(np.float32)


# Two calipers of GE scanners, a cross of four darts and a flower of eight petals round a dot, as quarters
# (rows and columns from the centre outwards, per cent of contrast); measured on BUS-BRA, which is open.
_Quarter = tuple[tuple[int, ...], ...]
_DARTS: _Quarter = (
    (9, 38, 67, 92, 96, 30, 30),
    (38, 27, 23, 55, 65, 27, 30),
    (67, 23, 5, 24, 30, 26, 30),
    (92, 55, 24, 20, 22, 29, 32),
    (96, 65, 30, 22, 22, 30, 33),
    (38, 39, 26, 29, 30, 31, 34),
    (30, 30, 30, 32, 33, 34, 34),
)
_PETALS: _Quarter = (
    (99, 82, 16, 8, 26, 26, 31),
    (78, 74, 38, 27, 44, 26, 28),
    (22, 41, 62, 73, 62, 25, 28),
    (5, 19, 67, 75, 33, 24, 33),
    (8, 33, 67, 44, 24, 30, 32),
    (25, 31, 39, 31, 27, 31, 32),
    (30, 32, 33, 34, 33, 32, 33),
)


def _unfold(quarter: _Quarter) -> np.ndarray:
    corner = np.asarray(quarter, np.float32)
    half = np.concatenate([corner[:, :0:-1], corner], axis=1)
    return np.concatenate([half[:0:-1], half], axis=0)


@cache
def _templates() -> tuple[tuple[str, float, np.ndarray], ...]:
    """Return ``(family, threshold, template)``; small crosses look like speckle and need more certainty."""
    bank: list[tuple[str, float, np.ndarray]] = []
    sizes = ((3.0, 0.80), (4.0, 0.68), (5.0, 0.60), (6.0, 0.56), (7.5, 0.56))
    for family, widths, first in (("+", (1.2, 2.0), 0), ("x", (1.2, 1.8), 1)):
        for arm, threshold in sizes[first:]:
            radius = int(arm * (0.75 if family == "x" else 1.0)) + 2
            inner = np.s_[10 - radius : 11 + radius, 10 - radius : 11 + radius]
            for thickness in widths:
                for shift in (0.0, 0.5):
                    drawn = _high_pass(_drawn(arm, thickness, family == "x", shift, shift))
                    bank.append((family, threshold, drawn[inner].copy()))
    for shift in (0.0, 0.5):
        cross, bar = _drawn(5.0, 1.5, True, shift, shift), _drawn(4.5, 1.5, False, shift, shift)
        bar[:, :8] = bar[:, 13:] = 0  # the upright stroke alone
        bank.append(("star", 0.56, _high_pass(np.maximum(cross, bar))[4:17, 4:17].copy()))
    bank.append(("darts", 0.54, _unfold(_DARTS)))
    bank.append(("petals", 0.52, _unfold(_PETALS)))
    return tuple(bank)


def _scores(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the margin of the best template above its threshold at each pixel and that template's index."""
    import cv2

    reach = 12
    high = _high_pass(cv2.copyMakeBorder(image, reach, reach, reach, reach, cv2.BORDER_REPLICATE))
    best = np.full(high.shape, -1.0, np.float32)
    which = np.zeros(high.shape, np.int16)
    for index, (_, threshold, template) in enumerate(_templates()):
        radius = template.shape[0] // 2
        score = cv2.matchTemplate(high, template, cv2.TM_CCOEFF_NORMED)
        score[~np.isfinite(score)] = -1
        margin = score - threshold
        view = np.s_[radius : high.shape[0] - radius, radius : high.shape[1] - radius]
        better = margin > best[view]
        best[view][better] = margin[better]
        which[view][better] = index
    inner = np.s_[reach:-reach, reach:-reach]
    return best[inner], which[inner]


@dataclass(frozen=True)
class _Mark:
    """A place that looks like a caliper; `agreement` is the worst correlation of its four halves."""

    y: int
    x: int
    family: str
    radius: int
    contrast: float
    level: float
    agreement: float
    second: float  # the second worst: a numeral may cover one half


def _agreement(patch: np.ndarray, template: np.ndarray) -> tuple[float, float]:
    """Return the two least correlations among the upper, lower, left and right halves: a line matches only some."""
    middle = template.shape[0] // 2
    values = []
    for half in (np.s_[: middle + 1], np.s_[middle:], np.s_[:, : middle + 1], np.s_[:, middle:]):
        a, b = template[half] - template[half].mean(), patch[half] - patch[half].mean()
        values.append(float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum() + 1e-9)))
    values.sort()
    return values[0], values[1]


def _marks(image: np.ndarray) -> list[_Mark]:
    """Return all places that may be calipers."""
    import cv2

    margin, which = _scores(image)
    bank = _templates()
    reach = 12
    high = _high_pass(cv2.copyMakeBorder(image, reach, reach, reach, reach, cv2.BORDER_REPLICATE))
    peak = margin == cv2.dilate(margin, np.ones((PEAK_DISTANCE, PEAK_DISTANCE), np.uint8))
    marks = []
    for y, x in zip(*np.nonzero(peak & (margin > -0.12)), strict=True):
        family, _, template = bank[which[y, x]]
        radius = template.shape[0] // 2
        window = np.s_[
            y + reach - radius : y + reach + radius + 1, x + reach - radius : x + reach + radius + 1
        ]
        contrast = float(np.ptp(high[window]))
        agreement, second = _agreement(high[window], template)
        if contrast >= (40 if radius >= 6 else 60) and agreement > 0.2:
            near = image[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
            level = float(np.percentile(near, 95))
            marks.append(_Mark(int(y), int(x), family, radius, contrast, level, agreement, second))
    return marks


def _certain(mark: _Mark) -> float:
    if mark.family in PATTERNED:
        return 0.53
    return 0.58 if _large(mark) else 0.75


def _large(mark: _Mark) -> bool:
    return mark.radius >= (5 if mark.family == "x" else 6)


def _same_set(mark: _Mark, sure: _Mark) -> bool:
    if not _large(mark):
        return False
    patterned = mark.family in PATTERNED and sure.family in PATTERNED  # GE draws each pair with another mark
    return (
        (patterned or (mark.family == sure.family and abs(mark.radius - sure.radius) <= 1))
        and abs(mark.level - sure.level) < 45
        and mark.contrast > 0.6 * sure.contrast
        and (mark.agreement >= 0.44 or (mark.second >= 0.6 and mark.agreement >= 0.2))
    )


def find_calipers(image: np.ndarray, hints: list[tuple[float, float]] | None = None) -> list[Found]:
    """Find caliper marks (``+``, ``x`` and two patterned ones) and the numerals beside them.

    Parameters
    ----------
    image
        uint8 array of shape (H, W).
    hints
        Centres ``(x, y)`` of lone glyphs: a faint caliper beside one counts, for it wears that numeral.

    Returns
    -------
    list of Found
        Of kind ``"caliper"``; the score is the normalised cross-correlation with the best template.
    """
    import cv2

    marks = _marks(image)
    sure = [mark for mark in marks if mark.agreement >= _certain(mark)]
    if any(mark.family in PATTERNED for mark in sure):  # then a small plain cross would be of another scanner
        sure = [mark for mark in sure if _large(mark) or mark.agreement >= 0.82]
    # Calipers come in sets: beside a sure one, a fainter one of the same kind and brightness counts too.
    marks = [
        mark
        for mark in marks
        if mark in sure
        or any(_same_set(mark, other) for other in sure)
        or (
            _large(mark)
            and mark.second >= 0.5
            and any(np.hypot(mark.x - x, mark.y - y) < 12 for x, y in hints or [])
        )
    ]
    narrow, flat = top_hat(image, 1, 7), top_hat(image, 7, 1)
    found = []
    for mark in marks:
        y, x, radius, contrast, level = mark.y, mark.x, mark.radius, mark.contrast, mark.level
        pixels = np.zeros(image.shape, np.uint8)
        pixels[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1] = 1
        strokes = np.maximum(narrow, flat) > max(0.25 * contrast, 8)
        pixels &= cv2.dilate(strokes.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(np.uint8)
        pixels |= _numeral(image, narrow, y, x, radius, contrast, level)
        grown = pixels > 0
        found.append(Found(Annotation("caliper", box_of(grown), round(min(1.0, mark.agreement), 3)), grown))
    return found


def _numeral(
    image: np.ndarray, narrow: np.ndarray, y: int, x: int, radius: int, contrast: float, level: float
) -> np.ndarray:
    """Return the dilated strokes of a numeral next to a caliper, uint8 (H, W); empty where there is none."""
    import cv2
    from scipy.ndimage import find_objects, label

    result = np.zeros(image.shape, np.uint8)
    reach = radius + 13
    top, left = max(0, y - reach), max(0, x - reach)
    window = np.s_[top : y + reach + 1, left : x + reach + 1]
    strokes = (narrow[window] > 0.32 * contrast) & (image[window] > level - 0.6 * contrast)
    yy, xx = np.mgrid[
        window[0].start : window[0].start + strokes.shape[0],
        window[1].start : window[1].start + strokes.shape[1],
    ]
    strokes &= np.hypot(yy - y, xx - x) > radius - 2
    labels, _ = label(strokes, structure=np.ones((3, 3)))
    for index, (rows, columns) in enumerate(find_objects(labels), start=1):
        part = labels[rows, columns] == index
        if 4 <= part.shape[0] <= 14 and part.shape[1] <= 9 and part.shape[0] >= part.shape[1]:
            result[window][rows, columns] |= part.astype(np.uint8)
    return cv2.dilate(result, np.ones((5, 5), np.uint8))


def find_dotted_lines(image: np.ndarray, calipers: list[Found]) -> list[Found]:
    """Find the dots between pairs of calipers.

    Parameters
    ----------
    image
        uint8 array of shape (H, W).
    calipers
        What `find_calipers` found. Dots are looked for only on straight lines between two of them, so that
        calcifications survive.

    Returns
    -------
    list of Found
        Of kind ``"dotted-line"``.
    """
    import cv2
    from scipy.ndimage import label

    spots = np.minimum(top_hat(image, 5, 5), top_hat(image, 1, 5) + top_hat(image, 5, 1))
    calm = cv2.blur(np.minimum(spots, 60), (41, 41)) + 2
    bright = (spots > 30) & (spots > 3 * calm)
    alone = (np.minimum(top_hat(image, 1, 5), top_hat(image, 5, 1)) > 55) & (spots > 7 * calm)
    centres = [((c.item.box[0] + c.item.box[2]) / 2, (c.item.box[1] + c.item.box[3]) / 2) for c in calipers]
    found = []
    for i, (xa, ya) in enumerate(centres):
        for xb, yb in centres[i + 1 :]:
            length = float(np.hypot(xb - xa, yb - ya))
            if length < 20:
                continue
            line = np.zeros(image.shape, np.uint8)
            inset = 7 / length
            ends = [(round(xa + (xb - xa) * t), round(ya + (yb - ya) * t)) for t in (inset, 1 - inset)]
            cv2.line(line, ends[0], ends[1], 1, 3)
            on = (line > 0) & bright
            _, dots = label(on, structure=np.ones((3, 3)))
            spacing = length / max(dots, 1)
            side = _off_line(bright, (xa, ya), (xb, yb))
            dense = dots >= 5 and spacing < 9 and on.sum() > 3 * side
            lone = (line > 0) & alone
            pixels = on if dense else lone
            if pixels.any():
                grown = cv2.dilate(pixels.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
                found.append(Found(Annotation("dotted-line", box_of(grown), 0.6), grown))
    return found


def _off_line(bright: np.ndarray, start: tuple[float, float], stop: tuple[float, float]) -> float:
    """Return the mean number of bright pixels on two lines beside the given one."""
    import cv2

    dx, dy = stop[0] - start[0], stop[1] - start[1]
    length = float(np.hypot(dx, dy))
    total = 0.0
    for shift in (-6, 6):
        beside = np.zeros(bright.shape, np.uint8)
        across = (-dy / length * shift, dx / length * shift)
        a = (round(start[0] + across[0]), round(start[1] + across[1]))
        b = (round(stop[0] + across[0]), round(stop[1] + across[1]))
        cv2.line(beside, a, b, 1, 3)
        total += float((bright & (beside > 0)).sum())
    return total / 2
