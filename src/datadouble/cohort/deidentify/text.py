"""Find burned-in words: optical character recognition, then the strokes of the letters."""

from functools import cache
from typing import Any

import numpy as np

from datadouble.cohort.deidentify.types import Annotation, Found, box_of
from datadouble.errors import DataDoubleError

PAD = 16  # words cut off by the border are read better with room around them
ACCEPT = 0.4  # recognition scores of false alarms in speckle stay below about 0.25


def require_ocr() -> Any:
    """Return the class of the text reader; raise `DataDoubleError` with the remedy where it is not installed."""
    try:
        from rapidocr_onnxruntime import RapidOCR
    except ImportError as error:
        raise DataDoubleError(
            "cleaning needs a text reader that is not installed",
            where="rapidocr-onnxruntime",
            found=str(error),
            remedy="pip install 'datadouble[ocr]', or pass --keep-annotations to leave the pictures as they are",
        ) from error
    return RapidOCR


@cache
def ocr_engine() -> Any:
    """Return this process's text reader, on one thread; raise `DataDoubleError` where it is not installed."""
    import cv2

    engine = require_ocr()
    cv2.setNumThreads(1)
    return engine(
        intra_op_num_threads=1,
        inter_op_num_threads=1,
        det_thresh=0.2,
        det_box_thresh=0.3,
        text_score=0.0,
        use_cls=False,
    )


def read_boxes(image: np.ndarray) -> list[tuple[float, float, float, float, float, int]]:
    """Return ``(x0, y0, x1, y1, score, letters)`` of each piece of text read in a uint8 (H, W) picture."""
    height, width = image.shape
    fill = int(np.median(image))
    padded = np.pad(image, PAD, constant_values=fill)
    result, _ = ocr_engine()(np.repeat(padded[:, :, None], 3, axis=2), use_cls=False)
    boxes = []
    for corners, words, score in result or []:
        letters = sum(character.isalnum() for character in words)
        if float(score) < ACCEPT or not words.strip():
            continue
        points = np.asarray(corners, dtype=float) - PAD
        x0, y0 = np.maximum(points.min(0), 0)
        x1, y1 = np.minimum(points.max(0), (width, height))
        tall = (y1 - y0) / max(height, 1)
        if tall > 0.14 or (letters <= 2 and tall > 0.085):
            continue  # a cyst reads as the letter O
        if x1 - x0 >= 2 and y1 - y0 >= 2:
            boxes.append((float(x0), float(y0), float(x1), float(y1), float(score), letters))
    return boxes


def top_hat(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """White top-hat of an (H, W) picture: what is brighter than its surroundings and fits no such rectangle."""
    import cv2

    kernel = np.ones((height, width), np.uint8)
    return cv2.morphologyEx(image, cv2.MORPH_TOPHAT, kernel, borderType=cv2.BORDER_REPLICATE).astype(
        np.float32
    )


def _strokes(image: np.ndarray, box: tuple[int, int, int, int]) -> tuple[np.ndarray, float, float]:
    """Return the strokes of the letters in a box, their brightness and the contrast to the background."""
    x0, y0, x1, y1 = box
    size = max(5, int(0.55 * (y1 - y0))) | 1
    margin = size + 2
    top, left = max(0, y0 - margin), max(0, x0 - margin)
    crop = image[top : y1 + margin, left : x1 + margin]
    hat = top_hat(crop, size, size)
    inside = hat[y0 - top : y1 - top, x0 - left : x1 - left]
    values = image[y0:y1, x0:x1].astype(np.float32)
    strong = inside > 0.5 * np.percentile(inside, 97)
    level = float(np.median(values[strong])) if strong.any() else 255.0
    contrast = float(np.median(inside[strong])) if strong.any() else 0.0
    pixels = np.zeros(image.shape, bool)
    pixels[y0:y1, x0:x1] = inside > max(0.3 * contrast, 8)
    return pixels, level, contrast


def neighbours(
    image: np.ndarray, box: tuple[int, int, int, int], level: float, contrast: float
) -> np.ndarray:
    """Return strokes in the row of a word that the reader missed: same brightness, same height, not speckle."""
    from scipy.ndimage import find_objects, label

    x0, y0, x1, y1 = box
    tall = y1 - y0
    top, bottom = max(0, y0 - 3), min(image.shape[0], y1 + 3)
    # Speckle is wide and flat; the upright strokes of letters are narrow.
    narrow = top_hat(image[top:bottom], 1, 7)
    bright = image[top:bottom].astype(np.float32)
    candidate = (bright > level - 0.45 * contrast) & (
        (narrow > 0.5 * contrast) | (top_hat(image[top:bottom], 5, 1) > 0.6 * contrast)
    )
    labels, _ = label(candidate, structure=np.ones((3, 3)))
    found = np.zeros(image.shape, bool)
    parts = []
    for index, (rows, columns) in enumerate(find_objects(labels), start=1):
        part = labels[rows, columns] == index
        high, wide = part.shape
        upright = float(narrow[rows, columns][part].mean())
        if 0.4 * tall <= high <= tall + 2 and wide <= 1.3 * tall and upright > 0.45 * contrast:
            parts.append((columns.start, columns.stop, rows, columns, part))
    left, right, changed = x0, x1, True
    while changed:  # letters join one after another, each near the last
        changed = False
        for entry in list(parts):
            start, stop, rows, columns, part = entry
            gap = max(start - right, left - stop)
            slender = part.shape[1] <= 0.3 * tall  # the text cursor
            if gap <= (2.6 if slender else 1.0) * tall:
                parts.remove(entry)
                found[top:bottom][rows, columns] |= part
                left, right, changed = min(left, start), max(right, stop), True
    return found


def find_text(image: np.ndarray) -> list[Found]:
    """Find burned-in words and numbers.

    Parameters
    ----------
    image
        uint8 array of shape (H, W).

    Returns
    -------
    list of Found
        Of kind ``"text"``, or ``"logo"`` for two or three letters in an upper corner.

    Raises
    ------
    DataDoubleError
        Where the text reader is not installed.
    """
    import cv2

    height, width = image.shape
    found = []
    for x0, y0, x1, y1, score, letters in read_boxes(image):
        box = (
            max(0, int(np.floor(x0)) - 1),
            max(0, int(np.floor(y0)) - 1),
            min(width, int(np.ceil(x1)) + 1),
            min(height, int(np.ceil(y1)) + 1),
        )
        strokes, level, contrast = _strokes(image, box)
        inside = strokes[box[1] : box[3], box[0] : box[2]]
        if contrast < 40 or inside.mean() > 0.55:  # no clear strokes: take the box whole
            strokes[box[1] : box[3], box[0] : box[2]] = True
        if letters >= 1 and contrast >= 30:
            strokes |= neighbours(image, box, level, contrast)
        radius = 3 if box[3] - box[1] > 16 else 2
        grown = cv2.dilate(strokes.astype(np.uint8), cv2.getStructuringElement(2, (2 * radius + 1,) * 2)) > 0
        corner = box[1] < 0.08 * height and (box[0] < 0.12 * width or box[2] > 0.88 * width)
        kind = "logo" if corner and letters <= 3 else "text"
        found.append(Found(Annotation(kind, box_of(grown), round(score, 3)), grown))
    return found
