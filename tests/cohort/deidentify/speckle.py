"""Simulated scans with annotations of known place, for the tests of the cleaning."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter


def speckle(seed: int, shape: tuple[int, int] = (300, 280), level: float = 90.0) -> np.ndarray:
    """Return log-compressed, fully developed speckle, wider than high, with a dark lesion; uint8."""
    rng = np.random.default_rng(seed)
    field = [gaussian_filter(rng.standard_normal(shape), (1.1, 2.2)) for _ in range(2)]
    envelope = np.hypot(*field)
    decibels = 20 * np.log10(envelope / np.sqrt((envelope**2).mean()) + 1e-3)
    y, x = np.mgrid[: shape[0], : shape[1]]
    lesion = ((x - 140) / 50) ** 2 + ((y - 110) / 32) ** 2 < 1
    base = np.where(lesion, level - 50, level) - 0.08 * y
    return np.clip(base + 2.6 * decibels, 0, 255).astype(np.uint8)


def with_layers(image: np.ndarray) -> np.ndarray:
    """Add a bright skin line, two slanting fascia lines and three calcifications to a scan."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    grey = image.astype(float)
    for offset, slope, width in ((10, 0.0, 2.0), (190, 0.08, 1.6), (235, -0.05, 1.8)):
        grey += 120 * np.exp(-0.5 * ((y - offset - slope * x) / width) ** 2)
    for cy, cx in ((105, 130), (112, 150), (120, 138)):
        grey += 120 * np.exp(-0.5 * (((y - cy) / 1.2) ** 2 + ((x - cx) / 2.2) ** 2))
    return np.clip(grey, 0, 255).astype(np.uint8)


def write(
    image: np.ndarray, words: str, place: tuple[int, int], size: int = 13, grey: int = 235
) -> np.ndarray:
    """Burn words into a scan; return the pixels that changed by more than 15."""
    canvas = Image.fromarray(image.copy())
    ImageDraw.Draw(canvas).text(place, words, fill=grey, font=ImageFont.load_default(size))
    changed = np.asarray(canvas)
    burnt = np.abs(changed.astype(int) - image) > 15
    image[:] = changed
    return burnt


def cross(
    image: np.ndarray, x: int, y: int, arm: int = 5, diagonal: bool = False, grey: int = 225
) -> np.ndarray:
    """Burn a caliper into a scan; return its pixels."""
    canvas = Image.fromarray(np.zeros_like(image))
    draw = ImageDraw.Draw(canvas)
    if diagonal:
        draw.line((x - arm, y - arm, x + arm, y + arm), fill=255)
        draw.line((x - arm, y + arm, x + arm, y - arm), fill=255)
    else:
        draw.line((x - arm, y, x + arm, y), fill=255)
        draw.line((x, y - arm, x, y + arm), fill=255)
    burnt = np.asarray(canvas) > 0
    image[burnt] = grey
    return burnt
