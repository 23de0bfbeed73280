"""A canvas in mm to paint soft-edged shapes on."""

import numpy as np


def smooth_noise(generator: np.random.Generator, shape: tuple[int, int], sigma: float) -> np.ndarray:
    """Return Gaussian noise of unit variance, float32 (H, W), with a correlation length of `sigma` pixels."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(
        generator.standard_normal(shape, dtype=np.float32), sigma, mode="wrap", truncate=3.0
    )
    return noise / noise.std()


class Canvas:
    """A square slice in HU, air at first.

    Attributes
    ----------
    hu : numpy.ndarray
        float32 (H, W).
    x, y : numpy.ndarray
        Positions in mm, (H, W), from the middle; x to the right of the picture, y to the back of the patient.
    """

    def __init__(self, pixels: int, field_mm: float, *, turn: float = 0.0) -> None:
        self.pixel_mm = field_mm / pixels
        self.shape = (pixels, pixels)
        line = ((np.arange(pixels) + 0.5) * self.pixel_mm - field_mm / 2).astype(np.float32)
        cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
        self.x = line[None] * cos + line[:, None] * sin
        self.y = line[:, None] * cos - line[None] * sin
        self.hu = np.full(self.shape, -1000, np.float32)

    def soft(self, distance: np.ndarray) -> np.ndarray:
        """Return 1 where a signed distance (mm) is positive, 0 where it is negative, over one pixel and a half."""
        return np.clip(distance / np.float32(1.5 * self.pixel_mm) + np.float32(0.5), 0, 1)

    def ellipse(
        self,
        x: float,
        y: float,
        half_width: float,
        half_depth: float,
        *,
        tilt: float = 0.0,
        power: float = 2.0,
    ) -> np.ndarray:
        """Return a (super)ellipse, 0 to 1, float32 (H, W); its long axis turns with `tilt` from x towards y."""
        dx, dy = self.x - np.float32(x), self.y - np.float32(y)
        cos, sin = np.float32(np.cos(tilt)), np.float32(np.sin(tilt))
        u = np.abs(dx * cos + dy * sin) / np.float32(max(half_width, 0.1))
        v = np.abs(dy * cos - dx * sin) / np.float32(max(half_depth, 0.1))
        radius = np.sqrt(u * u + v * v) if power == 2 else (u**power + v**power) ** np.float32(1 / power)
        return self.soft((1 - radius) * np.float32(min(half_width, half_depth)))

    def paint(self, hu: np.ndarray | float, where: np.ndarray) -> None:
        """Cover with `hu` where `where` is 1, blend between."""
        self.hu += np.clip(where, 0, 1).astype(np.float32) * (np.asarray(hu, np.float32) - self.hu)
