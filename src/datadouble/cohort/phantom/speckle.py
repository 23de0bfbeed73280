"""Fully developed speckle by the convolution model.

The radio-frequency picture is tissue reflectivity convolved with the scanner's point-spread function (Bamber and
Dickinson, Phys Med Biol 1980;25:463). We work with its complex envelope: circular complex Gaussian scatterers,
scaled by the echogenicity, through a Gaussian point-spread function. Where the tissue is homogeneous, the
magnitude is Rayleigh distributed, with mean / standard deviation = sqrt(pi / (4 - pi)) = 1.913 (Wagner et al., IEEE
Trans Sonics Ultrason 1983;30:156).
"""

from dataclasses import dataclass

import numpy as np

_FWHM_PER_SIGMA = 2.3548  # 2 sqrt(2 ln 2)


@dataclass(frozen=True)
class Beam:
    """A scanner's point-spread function, as full widths at half maximum in mm.

    Parameters
    ----------
    axial_mm
        Length of the pulse.
    lateral_mm
        Width of the beam at its focus.
    focus_mm
        Depth of the focus.
    spread
        Growth of the width away from the focus: the width is ``lateral_mm * sqrt(1 + (spread * distance)**2)``
        with the distance in cm, and the distance counts 0.6 above the focus (dynamic receive focusing).
    drift
        Further growth with depth, as a part of ``lateral_mm`` for each cm (loss of the high frequencies).
    clutter
        Amplitude of side lobes, four times as wide as the main lobe.
    """

    axial_mm: float = 0.28
    lateral_mm: float = 0.55
    focus_mm: float = 14.0
    spread: float = 0.45
    drift: float = 0.12
    clutter: float = 0.012

    def lateral_width(self, depth_mm: np.ndarray) -> np.ndarray:
        """Return the lateral width in mm at each depth in mm."""
        distance = (depth_mm - self.focus_mm) / 10
        distance = np.where(distance < 0, 0.6 * distance, distance)
        return self.lateral_mm * (np.sqrt(1 + (self.spread * distance) ** 2) + self.drift * depth_mm / 10)


def _transfer(frequency: np.ndarray, fwhm: np.ndarray | float) -> np.ndarray:
    """Return the Fourier transform of a Gaussian of unit area and the given width, both in the same unit."""
    return np.exp(-0.5 * (2 * np.pi * frequency * (fwhm / _FWHM_PER_SIGMA)) ** 2)


def convolve(field: np.ndarray, beam: Beam, pixel_mm: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Convolve a field with the point-spread function, whose lateral width is exact at every row.

    Parameters
    ----------
    field
        complex64 (H, W), rows along depth.
    pixel_mm
        Height and width of a pixel.

    Returns
    -------
    field : numpy.ndarray
        complex64 (H, W). A constant field passes unchanged (times one plus the clutter).
    gain : numpy.ndarray
        (H, 1), standard deviation that white noise of unit variance has after the convolution, by row.
    """
    from scipy import fft

    rows, columns = field.shape
    depth = (np.arange(rows) + 0.5) * pixel_mm[0]
    # Rows of zeros past the bottom, so that the deep tissue does not wrap round into the skin.
    padded = fft.next_fast_len(rows + int(3 * beam.axial_mm / pixel_mm[0]) + 1)
    axial = _transfer(fft.fftfreq(padded, pixel_mm[0]), beam.axial_mm).astype(np.float32)
    width = beam.lateral_width(depth)[:, None]
    frequency = fft.fftfreq(columns, pixel_mm[1])[None]
    lateral = (_transfer(frequency, width) + beam.clutter * _transfer(frequency, 4 * width)).astype(
        np.float32
    )

    blurred = fft.ifft(fft.fft(field, n=padded, axis=0) * axial[:, None], axis=0)[:rows]
    blurred = fft.ifft(fft.fft(blurred, axis=1) * lateral, axis=1)
    gain = np.sqrt(np.mean(axial**2) * np.mean(lateral**2, axis=1, keepdims=True))
    return blurred, gain


def envelope(
    amplitude: np.ndarray,
    generator: np.random.Generator,
    *,
    beam: Beam,
    pixel_mm: tuple[float, float],
    specular: np.ndarray | None = None,
    looks: int = 1,
) -> np.ndarray:
    """Return the echo envelope of a tissue.

    Parameters
    ----------
    amplitude
        float32 (H, W): standard deviation of the scatterers, which is the square root of the backscatter.
    specular
        Complex or real (H, W): echoes of smooth interfaces, which add up coherently.
    looks
        Number of independent pictures averaged, as in spatial compounding; speckle contrast falls with its root.

    Returns
    -------
    numpy.ndarray
        float32 (H, W). Its mean square in a homogeneous medium is ``amplitude**2``.
    """
    total = np.zeros(amplitude.shape, np.float32)
    coherent = None
    for _ in range(looks):
        noise = generator.standard_normal((*amplitude.shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
        field, gain = convolve(noise * (amplitude * np.float32(np.sqrt(0.5))), beam, pixel_mm)
        field /= gain.astype(np.float32)
        if specular is not None:
            if coherent is None:
                coherent, _ = convolve(specular.astype(np.complex64), beam, pixel_mm)
            field += coherent
        total += np.abs(field)
    return total / np.float32(looks)


def homogeneous_envelope(
    shape: tuple[int, int],
    generator: np.random.Generator,
    *,
    beam: Beam | None = None,
    depth_mm: float = 40.0,
    width_mm: float = 38.0,
) -> np.ndarray:
    """Return the envelope of a homogeneous medium before any compression: what the statistics of speckle are tested on.

    Returns
    -------
    numpy.ndarray
        float32 of `shape`, Rayleigh distributed with mean square 1.
    """
    pixel = (depth_mm / shape[0], width_mm / shape[1])
    return envelope(np.ones(shape, np.float32), generator, beam=beam or Beam(), pixel_mm=pixel)
