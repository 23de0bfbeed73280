"""Breast ultrasound, simulated: tissue and lesion, speckle, attenuation, and what the scanner makes of the echoes."""

from dataclasses import dataclass

import numpy as np

from datadouble.cohort.phantom import lesions, tissue
from datadouble.cohort.phantom.scan import PhantomScan, check_request
from datadouble.cohort.phantom.speckle import Beam, envelope
from datadouble.randomness import generator_for

CLASSES = lesions.CLASSES
MASK_CLASSES = ("background", "lesion")
DESCRIPTORS = (*lesions.LEXICON, "density")
_LEAST_GRID = 256  # pixels; smaller pictures are made on this grid and reduced, as scans are


@dataclass(frozen=True)
class Scanner:
    """A kind of scanner: beam, compounding, and the way from echoes to grey.

    Parameters
    ----------
    dynamic_range_db
        Range of log compression.
    top_db
        Echo that becomes white, in dB relative to fat.
    curve
        Exponent of the grey curve; above 1 darkens the mid tones.
    black
        Grey value, in [0, 1], of no echo at all.
    edge
        Strength of edge enhancement.
    """

    name: str
    site: str
    beam: Beam
    looks: int
    dynamic_range_db: float
    top_db: float
    curve: float
    black: float
    edge: float
    noise_db: float


SCANNERS = (
    Scanner("linear compound 12 MHz", "centre-1", Beam(0.26, 0.54, 14, 0.4), 3, 62, 27, 1.55, 0.05, 0.3, -30),
    Scanner("linear classic 10 MHz", "centre-2", Beam(0.30, 0.64, 16, 0.4), 1, 47, 21, 1.15, 0.07, 0.0, -27),
    Scanner("linear harmonic 14 MHz", "centre-3", Beam(0.22, 0.46, 12, 0.4), 2, 60, 27, 1.6, 0.03, 0.5, -32),
)


@dataclass(frozen=True)
class Setting:
    """How a patient was examined: scanner, and the knobs that stay as they are for all pictures."""

    scanner: Scanner
    gain_db: float
    depth_mm: float
    width_mm: float
    slope_db: float
    focus_bump_db: float


def _draw_setting(generator: np.random.Generator) -> Setting:
    g = generator
    return Setting(
        scanner=SCANNERS[int(g.choice(len(SCANNERS), p=[0.4, 0.35, 0.25]))],
        gain_db=float(g.normal(-5, 2.8)),
        depth_mm=float(g.uniform(30, 42)),
        width_mm=float(g.uniform(36, 40)),
        slope_db=float(g.uniform(4, 17)),
        focus_bump_db=float(g.uniform(0, 4)),
    )


def draw(patient: int, picture: int, label: str, *, size: int = 128, seed: int = 0) -> PhantomScan:
    """Draw one picture of one patient.

    A patient keeps anatomy, lesion, scanner and settings; each picture is another plane. The result depends on
    the arguments alone.

    Parameters
    ----------
    label
        ``"normal"`` or the BI-RADS category, one of `CLASSES`.
    size
        Side of the square picture in pixels.

    Raises
    ------
    DataDoubleError
        On an unknown label or an impossible size.
    """
    check_request(label, CLASSES, size)
    of_patient = generator_for(seed, "breast-ultrasound", "patient", patient)
    anatomy = tissue.draw_anatomy(of_patient)
    setting = _draw_setting(of_patient)
    lesion = None
    if label != "normal":
        of_lesion = generator_for(seed, "breast-ultrasound", "lesion", patient, label)
        lesion = lesions.draw_lesion(label, of_lesion, depth_mm=setting.depth_mm, width_mm=setting.width_mm)
    generator = generator_for(seed, "breast-ultrasound", "picture", patient, label, picture)

    grid = max(size, _LEAST_GRID)
    pixel = (setting.depth_mm / grid, setting.width_mm / grid)
    z = np.repeat((np.arange(grid, dtype=np.float32)[:, None] + 0.5) * np.float32(pixel[0]), grid, axis=1)
    x = np.repeat((np.arange(grid, dtype=np.float32)[None] + 0.5) * np.float32(pixel[1]), grid, axis=0)
    x -= np.float32(setting.width_mm / 2)
    plane = tissue.draw_plane(anatomy, generator)
    if lesion is None:
        found = tissue.echoes(anatomy, plane, x, z)
        level, specular, excess = found.level_db, found.specular, found.excess_db_per_mm
        mask = np.zeros((grid, grid), np.uint8)
    else:
        lesion_cut = lesions.cut(lesion, generator, x, z)
        keep = np.clip(z / 4, 0, 1)  # the skin stays where the probe presses on it
        pull = lesion_cut.pull * keep
        found = tissue.echoes(anatomy, plane, x + pull * lesion_cut.x, z + pull * lesion_cut.z)
        level, specular, excess = lesions.apply(
            lesion_cut, found.level_db, found.specular, found.excess_db_per_mm, generator
        )
        mask = lesion_cut.mask.astype(np.uint8)
    loss = _loss(setting, excess, pixel, generator)
    if lesion is not None:
        loss += _edge_shadows(lesion_cut, lesion)
    image = _render(setting, level, specular, loss, pixel, generator)
    terms = lesion.terms if lesion is not None else dict.fromkeys(lesions.LEXICON, "")
    scanner = setting.scanner
    return PhantomScan(
        image=_resize(image, size),
        mask=_resize(mask, size, mask=True),
        label=label,
        site=scanner.site,
        device=scanner.name,
        descriptors={**terms, "density": anatomy.density},
    )


def _resize(image: np.ndarray, size: int, *, mask: bool = False) -> np.ndarray:
    from datadouble.cohort.pixels import fit_square

    return fit_square(image, size, mask=mask)


def _loss(
    setting: Setting, excess: np.ndarray, pixel: tuple[float, float], generator: np.random.Generator
) -> np.ndarray:
    """Return the attenuation in dB (H, W) that is left after the time-gain compensation."""
    from scipy.ndimage import gaussian_filter1d

    rows, columns = excess.shape
    depth = (np.arange(rows, dtype=np.float32) + 0.5)[:, None] / rows
    loss = np.cumsum(excess, axis=0, dtype=np.float32) * np.float32(pixel[0])
    loss = np.clip(loss, -13, 34)
    loss = gaussian_filter1d(loss, 0.5 / pixel[1], axis=1, mode="nearest")
    slope = setting.slope_db + generator.normal(0, 1.5)
    loss += (slope * depth**1.5).astype(np.float32)
    focus = setting.scanner.beam.focus_mm / setting.depth_mm
    loss -= (setting.focus_bump_db * np.exp(-(((depth - focus) / 0.22) ** 2))).astype(np.float32)
    # Streaks: strands and bad contact above weaken whole beams, more so with depth.
    streaks = gaussian_filter1d(generator.standard_normal(columns), 1.2 / pixel[1], mode="reflect")
    wide = gaussian_filter1d(generator.standard_normal(columns), 4.0 / pixel[1], mode="reflect")
    beams = 0.9 * streaks / streaks.std() + 1.3 * wide / wide.std()
    return loss + (beams[None] * np.clip(depth * 2, 0, 1)).astype(np.float32)


def _edge_shadows(lesion_cut: lesions.LesionCut, lesion: lesions.Lesion) -> np.ndarray:
    """Return the loss in dB below the sides of a smooth round mass, where the beam is refracted away."""
    if lesion.terms["margin"] != "circumscribed":
        return np.zeros_like(lesion_cut.x)
    below = np.clip(lesion_cut.z / 2 + 0.5, 0, 1)
    beside = np.abs(np.abs(lesion_cut.x) - np.float32(0.97 * lesion.half_width)) / (
        0.7 + 0.03 * lesion_cut.z.clip(0)
    )
    return (5.0 * np.exp(-(beside**2)) * below).astype(np.float32)


def _render(
    setting: Setting,
    level_db: np.ndarray,
    specular: np.ndarray,
    loss_db: np.ndarray,
    pixel: tuple[float, float],
    generator: np.random.Generator,
) -> np.ndarray:
    """Return the grey picture: envelope, noise, log compression, grey curve; uint8 (H, W)."""
    from scipy.ndimage import gaussian_filter

    scanner = setting.scanner
    passed = _amplitude(-loss_db)
    echo = envelope(
        _amplitude(level_db) * passed,
        generator,
        beam=scanner.beam,
        pixel_mm=pixel,
        specular=specular * passed,
        looks=scanner.looks,
    )
    rows = echo.shape[0]
    depth = (np.arange(rows, dtype=np.float32)[:, None] + 0.5) / rows
    noise = np.abs(generator.standard_normal(echo.shape, dtype=np.float32)) + 0.3
    noise = gaussian_filter(noise, (0.06 / pixel[0], 0.16 / pixel[1]))
    echo = np.hypot(echo, noise * _amplitude(scanner.noise_db + 9 * depth))
    decibel = 20 * np.log10(echo + np.float32(1e-6)) + np.float32(setting.gain_db)
    # Scanners smooth what they show; it softens the deep nulls of speckle, which the logarithm makes too prominent.
    decibel = gaussian_filter(decibel, (0.05 / pixel[0], 0.13 / pixel[1]))
    grey = 1 + (decibel - scanner.top_db) / np.float32(scanner.dynamic_range_db)
    if scanner.edge:
        grey += np.float32(scanner.edge) * (grey - gaussian_filter(grey, 0.35 / pixel[0]))
    grey = np.clip(grey, 0, 1) ** np.float32(scanner.curve)
    grey += np.float32(0.012) * generator.standard_normal(grey.shape, dtype=np.float32)
    grey = scanner.black + (1 - scanner.black) * grey
    return np.round(255 * np.clip(grey, 0, 1)).astype(np.uint8)


def _amplitude(decibel: np.ndarray) -> np.ndarray:
    return np.exp(decibel * np.float32(np.log(10) / 20))
