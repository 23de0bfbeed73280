"""Find what scanners draw at the borders: rulers, tick marks, grey bars, panels, frames, orientation marks."""

import numpy as np

from datadouble.cohort.deidentify.text import neighbours, top_hat
from datadouble.cohort.deidentify.types import Annotation, Found, box_of

NORM_WINDOW = 61  # px; drawn marks are judged against the strength of the speckle in this neighbourhood
STRAIGHT = 40  # px; tissue has no straight upright edge of this length


def _local_mean(values: np.ndarray, cap: float = 60.0) -> np.ndarray:
    import cv2

    return cv2.blur(np.minimum(values, cap), (NORM_WINDOW, NORM_WINDOW)) + 2.0


def drawn_strokes(image: np.ndarray, upright: float = 7.0, dots: float = 10.0) -> np.ndarray:
    """Return where lines or dots are too narrow and upright to be speckle, boolean (H, W).

    Speckle is wider than high, since the lateral resolution of a scanner is poorer than the axial one. What is
    narrow over five rows, or a dot that stands alone, was drawn.
    """
    import cv2

    narrow = top_hat(image, 1, 7)
    lines = cv2.morphologyEx(narrow, cv2.MORPH_OPEN, np.ones((5, 1), np.uint8))
    spots = np.minimum(top_hat(image, 1, 5), top_hat(image, 5, 1))
    return ((lines > upright * _local_mean(lines)) & (lines > 25)) | (
        (spots > dots * _local_mean(spots)) & (spots > 40)
    )


def grow(image: np.ndarray, seeds: np.ndarray, size: int = 11, share: float = 0.45) -> np.ndarray:
    """Grow seeds to the whole bright marks they lie on (top-hat above a share of the seed's), boolean (H, W)."""
    import cv2
    from scipy.ndimage import label, maximum

    hat = top_hat(image, size, size)
    labels, count = label(seeds, structure=np.ones((3, 3)))
    if count == 0:
        return seeds
    strength = np.zeros(count + 1, np.float32)
    strength[1:] = maximum(hat, labels, np.arange(1, count + 1))
    reach = np.ones((2 * size + 1, 2 * size + 1), np.uint8)
    near = cv2.dilate(strength[labels], reach)
    bright = (hat > share * near) & (near > 0) & (hat > 15)
    parts, _ = label(bright | seeds, structure=np.ones((3, 3)))
    touched = np.unique(parts[seeds])
    return np.isin(parts, touched[touched > 0])


def find_border_marks(image: np.ndarray) -> list[Found]:
    """Find tick marks, diamonds, numerals and triangles along the borders of a uint8 (H, W) picture."""
    import cv2
    from scipy.ndimage import find_objects, label

    height, width = image.shape
    side, top, bottom = (
        max(16, round(0.075 * width)),
        max(7, round(0.022 * height)),
        max(9, round(0.03 * height)),
    )
    zone = np.zeros(image.shape, bool)
    zone[:, :side] = zone[:, width - side :] = True
    zone[:top] = zone[height - bottom :] = True
    seeds = drawn_strokes(image, upright=8.0, dots=10.0) & zone
    rim = np.zeros(image.shape, bool)  # words cut off by the upper or lower border
    rim[:5] = rim[height - 8 :] = True
    seeds |= rim & (image > 200) & (top_hat(image, 1, 9) > 90)
    marks = grow(image, seeds) | (_blocks(image, zone))
    labels, _ = label(
        cv2.dilate(marks.astype(np.uint8), np.ones((3, 3), np.uint8)), structure=np.ones((3, 3))
    )
    found = []
    for index, (rows, columns) in enumerate(find_objects(labels), start=1):
        pixels = (labels == index) & marks
        if rows.stop - rows.start > 24 or columns.stop - columns.start > 24:
            pixels &= cv2.dilate(seeds.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0  # grown into tissue
            if not pixels.any():
                continue
        grown = cv2.dilate(pixels.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        found.append(Found(Annotation("ruler", box_of(grown), 0.5), grown))
    return found


def _blocks(image: np.ndarray, zone: np.ndarray) -> np.ndarray:
    """Return small solid shapes of one brightness with sharp edges, such as triangles and dashes."""
    import cv2
    from scipy.ndimage import find_objects, label

    height, width = image.shape
    area = zone.copy()
    area[: int(0.3 * height), : int(0.2 * width)] = True  # GE draws an orientation dash here
    result = np.zeros(image.shape, bool)
    labels, _ = label((image >= 165) & area)
    for index, (rows, columns) in enumerate(find_objects(labels), start=1):
        high, wide = rows.stop - rows.start, columns.stop - columns.start
        if not (2 <= high <= 16 and 3 <= wide <= 16):
            continue
        y0, x0 = max(0, rows.start - 3), max(0, columns.start - 3)
        window = np.s_[y0 : rows.stop + 3, x0 : columns.stop + 3]
        part = labels[window] == index
        core = part.astype(np.uint8)
        ring = (cv2.dilate(core, np.ones((5, 5), np.uint8)) > 0) & ~(
            cv2.dilate(core, np.ones((3, 3), np.uint8)) > 0
        )
        values = image[window].astype(np.float32)
        if ring.sum() < 8 or part.sum() < 8:
            continue
        inside, outside = float(np.median(values[part])), float(np.percentile(values[ring], 80))
        faint = float(np.percentile(values[part], 10))
        if inside - outside > 90 and faint > outside + 65 and part.sum() > 0.45 * high * wide:
            result[window] |= part
    return result


def _runs(flags: np.ndarray, gap: int = 3, filled: float = 0.7) -> list[tuple[int, int]]:
    """Return the runs ``(start, stop)`` of true values, joined over short gaps, at least `STRAIGHT` long."""
    import cv2

    closed = cv2.morphologyEx(
        flags.astype(np.uint8)[:, None], cv2.MORPH_CLOSE, np.ones((2 * gap + 1, 1), np.uint8)
    )
    edges = np.diff(np.concatenate([[0], closed[:, 0].astype(int), [0]]))
    starts, stops = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return [
        (int(a), int(b))
        for a, b in zip(starts, stops, strict=True)
        if b - a >= STRAIGHT and flags[a:b].mean() > filled
    ]


def find_bars(image: np.ndarray) -> list[Found]:
    """Find grey bars and dark panels at the left and right border, by their straight upright edges."""
    width = image.shape[1]
    reach = max(26, round(0.12 * width))
    grey = image.astype(np.float32)
    step = np.zeros(image.shape, np.float32)  # brightness right of a column minus left of it
    step[:, 1:-1] = grey[:, 2:] - grey[:, :-2]
    found = []
    for left in (True, False):
        columns = range(2, reach) if left else range(width - reach, width - 2)
        edges = []
        for x in columns:
            for sign in (1, -1):
                for start, stop in _runs(sign * step[:, x] > 14):
                    edges.append((x, sign, start, stop))
        for x, sign, start, stop in edges:
            # A bar: bright between a rise and a fall, or between an edge and the border.
            partner = [
                e
                for e in edges
                if e[1] == -sign
                and 4 <= abs(e[0] - x) <= 18
                and min(stop, e[3]) - max(start, e[2]) > 0.6 * min(stop - start, e[3] - e[2])
            ]
            if partner and sign == 1:
                right = [e for e in partner if e[0] > x]
                if right and _brighter_inside(grey, x, right[0][0], start, stop):
                    far = right[0]
                    found.append(_whole_bar(image, step, x, far[0], min(start, far[2]), max(stop, far[3])))
            elif not left and sign == 1 and width - x <= 20 and not partner:
                found.append(_whole_bar(image, step, x, width - 1, start, stop))
            if left and sign == 1 and 3 <= x <= 24 and stop - start >= 60:
                inside = grey[start:stop, : max(1, x - 1)]
                if np.median(inside) < 40:  # a dark panel beside the picture
                    found.append(_strip(image, "bar", 0, x + 2, start, stop))
    return found


def _brighter_inside(grey: np.ndarray, x0: int, x1: int, y0: int, y1: int) -> bool:
    inside = grey[y0:y1, x0 + 1 : x1].mean()
    beside = max(grey[y0:y1, max(0, x0 - 5) : x0].mean(), grey[y0:y1, x1 + 1 : x1 + 6].mean())
    return bool(inside > beside + 15)


def _whole_bar(image: np.ndarray, step: np.ndarray, x0: int, x1: int, y0: int, y1: int) -> Found:
    """Follow a bar's edges up and down: a grey scale runs from white to black and crosses the tissue's grey."""
    flags = np.abs(step[:, max(0, x0 - 1) : x0 + 2]).max(1) > 8
    if x1 < image.shape[1] - 2:
        flags &= np.abs(step[:, x1 - 1 : x1 + 2]).max(1) > 8
    for start, stop in _runs(flags, gap=9, filled=0.5):
        if start < y1 and stop > y0:
            y0, y1 = min(y0, start), max(y1, stop)
    return _strip(image, "bar", x0 - 2, x1 + 3, y0, y1)


def find_glyphs(image: np.ndarray) -> list[Found]:
    """Find single letters, numerals and marks anywhere that neither the reader nor the templates know.

    A glyph is made of narrow strokes much sharper than the speckle around it and measures 5 to 18 px both ways;
    calcifications are smaller, layers and ligaments wider.
    """
    import cv2
    from scipy.ndimage import find_objects, label

    seeds = drawn_strokes(image, upright=11.0, dots=15.0)
    narrow = top_hat(image, 1, 7)
    labels, _ = label(grow(image, seeds, share=0.5), structure=np.ones((3, 3)))
    found = []
    for index, (rows, columns) in enumerate(find_objects(labels), start=1):
        part = labels[rows, columns] == index
        high, wide = part.shape
        if not (5 <= high <= 18 and 3 <= wide <= 18 and high * wide >= 30) or part.mean() > 0.75:
            continue
        values, seeded = image[rows, columns][part].astype(float), seeds[rows, columns][part]
        if (
            values.max() < 110
            or seeded.sum() < 5
            or narrow[rows, columns][part].mean() < 0.25 * np.ptp(values)
        ):
            continue
        pixels = np.zeros(image.shape, np.uint8)
        pixels[rows, columns] = part
        box = (columns.start, rows.start, columns.stop, rows.stop)
        contrast = float(np.median(narrow[rows, columns][part & seeds[rows, columns]]))
        pixels |= neighbours(image, box, float(np.median(image[rows, columns][part])), contrast)
        grown = cv2.dilate(pixels, np.ones((5, 5), np.uint8)) > 0
        found.append(Found(Annotation("text", box_of(grown), 0.4), grown))
    return found


def _strip(image: np.ndarray, kind: str, x0: int, x1: int, y0: int, y1: int) -> Found:
    height, width = image.shape
    pixels = np.zeros(image.shape, bool)
    pixels[max(0, y0 - 3) : min(height, y1 + 3), max(0, x0) : min(width, x1)] = True
    return Found(Annotation(kind, box_of(pixels), 0.7), pixels)


def find_frames(image: np.ndarray) -> list[Found]:
    """Find thin rectangles, such as the frame of a zoom or Doppler window, by their upright sides."""
    import cv2

    narrow, flat = top_hat(image, 1, 5) > 8, top_hat(image, 5, 1)
    flat = flat > 4 + 1.5 * _local_mean(flat)
    pixels = np.zeros(image.shape, np.uint8)
    columns = np.flatnonzero(narrow.sum(0) >= STRAIGHT)
    uprights = [
        (int(x), *run)
        for x in columns
        if 8 < x < image.shape[1] - 8
        for run in _runs(narrow[:, x], filled=0.8)
    ]
    levels = [
        (int(y), *run) for y in np.flatnonzero(flat.sum(1) >= STRAIGHT) for run in _runs(flat[y], filled=0.7)
    ]
    for x, top, bottom in uprights:
        for y, left, right in levels:  # a layer may be flat too, but does not end at an upright line
            if min(abs(top - y), abs(bottom - 1 - y)) <= 5 and min(abs(x - left), abs(x - right + 1)) <= 8:
                pixels[top:bottom, x] = 1
                pixels[y, left:right] = 1
    if not pixels.any():
        return []
    grown = cv2.dilate(pixels, np.ones((5, 5), np.uint8)) > 0
    return [Found(Annotation("frame", box_of(grown), 0.6), grown)]
