"""The layers of a breast: skin, fat with Cooper's ligaments, fibroglandular tissue, retromammary fat, muscle, ribs.

A patient has an anatomy; each picture is a plane through it. Echogenicity is in dB relative to fat.
"""

from dataclasses import dataclass

import numpy as np

FIELD_MM = 45.0  # textures repeat after this length
_FIELD_PIXELS = 360  # 0.125 mm each: half of the shortest pulse, so that the nearest pixel will do


def white_field(generator: np.random.Generator) -> np.ndarray:
    """Return white noise from which `texture` makes a texture."""
    return generator.standard_normal((_FIELD_PIXELS, _FIELD_PIXELS), dtype=np.float32)


def texture(white: np.ndarray, depth_mm: float, width_mm: float) -> np.ndarray:
    """Return periodic Gaussian noise of unit variance, float32, with the given correlation lengths (1 sigma, mm)."""
    from scipy import fft

    pixel = FIELD_MM / _FIELD_PIXELS
    rows = np.exp(-0.5 * (2 * np.pi * depth_mm * fft.fftfreq(_FIELD_PIXELS, pixel)) ** 2).astype(np.float32)
    columns = np.exp(-0.5 * (2 * np.pi * width_mm * fft.rfftfreq(_FIELD_PIXELS, pixel)) ** 2).astype(
        np.float32
    )
    spectrum = fft.rfft2(white)
    spectrum *= rows[:, None] * columns
    spectrum[0, 0] = 0
    smooth = fft.irfft2(spectrum, s=white.shape)
    return smooth / smooth.std()


def look_up(field: np.ndarray, z: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return a periodic texture at depths `z` and positions `x` (mm, same shape)."""
    scale = np.float32(_FIELD_PIXELS / FIELD_MM)
    row = (z * scale).astype(np.int32) % _FIELD_PIXELS
    column = (x * scale + np.float32(_FIELD_PIXELS)).astype(np.int32) % _FIELD_PIXELS
    return field.ravel().take(row * _FIELD_PIXELS + column)


@dataclass(frozen=True)
class Anatomy:
    """What stays the same in all pictures of a patient; lengths in mm, echoes in dB."""

    density: str
    skin: float
    fat: float
    gland: float
    retromammary: float
    muscle: float
    deep: str
    tilt: float
    gland_echo: float
    islands: float
    fibres: float
    scallop: float
    ligaments: float
    lobule: float
    key: int


def draw_anatomy(generator: np.random.Generator) -> Anatomy:
    """Draw a patient's breast; densities follow the four ACR classes, roughly as often as they occur."""
    g = generator
    density = str(g.choice(["fatty", "scattered", "heterogeneous", "dense"], p=[0.15, 0.35, 0.35, 0.15]))
    fat, gland = {"fatty": (16, 4), "scattered": (9.5, 9), "heterogeneous": (6, 13), "dense": (3.2, 18)}[
        density
    ]
    return Anatomy(
        density=density,
        skin=g.uniform(1.2, 2.1),
        fat=fat * g.uniform(0.75, 1.25),
        gland=gland * g.uniform(0.75, 1.25),
        retromammary=g.uniform(0.8, 3.0),
        muscle=g.uniform(5, 9),
        deep=str(g.choice(["pleura", "ribs", "none"], p=[0.35, 0.25, 0.4])),
        tilt=g.normal(0, 0.05),
        gland_echo=g.uniform(6, 10.5),
        islands=g.uniform(-0.9, 0.4),
        fibres=g.uniform(3.0, 6.0),
        scallop=g.uniform(0.5, 2.2),
        ligaments=g.uniform(5, 11),
        lobule=g.uniform(1.3, 2.6),
        key=int(g.integers(2**31)),
    )


@dataclass(frozen=True)
class Plane:
    """One cut through an anatomy: textures (FIELD_MM wide, periodic) and the interfaces' waves."""

    lobules: np.ndarray
    fibres: np.ndarray
    islands: np.ndarray
    striae: np.ndarray
    waves: np.ndarray  # (interfaces, terms, 3): amplitude mm, wave number rad/mm, phase
    rib_x: float
    tilt: float


def draw_plane(anatomy: Anatomy, generator: np.random.Generator) -> Plane:
    """Draw a plane: each texture is a mix of the patient's own and one of this picture, so that planes are akin."""
    patient = np.random.default_rng(anatomy.key)
    angle = generator.uniform(0.5, 1.1)
    shift = int(generator.integers(_FIELD_PIXELS))

    def mix(depth_mm: float, width_mm: float) -> np.ndarray:
        white = np.float32(np.cos(angle)) * white_field(patient) + np.float32(np.sin(angle)) * white_field(
            generator
        )
        return np.roll(texture(white, depth_mm, width_mm), shift, axis=1)

    waves = np.empty((6, 4, 3), np.float32)
    number = 2 * np.pi / np.array([55, 27, 14, 8])
    waves[..., 0] = np.abs(patient.normal(0, [0.9, 0.6, 0.25, 0.10], (6, 4)))
    waves[..., 1] = number * patient.uniform(0.85, 1.15, (6, 4))
    waves[..., 2] = patient.uniform(0, 2 * np.pi, (6, 4)) + generator.normal(0, 0.9, (6, 4))
    lobule = anatomy.lobule
    return Plane(
        lobules=mix(lobule * 0.62, lobule * 1.5),
        fibres=mix(0.24, 2.2),
        islands=mix(0.9, 2.1),
        striae=mix(0.16, 6.0),
        waves=waves,
        rib_x=generator.uniform(-14, 14),
        tilt=anatomy.tilt + generator.normal(0, 0.02),
    )


_TABLE_MM, _TABLE_STEP = 45.0, 0.05  # curves are tabulated from -45 to 45 mm


class _Curves:
    """The interfaces' waves at positions `x`: looked up, since sines of whole pictures are slow."""

    def __init__(self, plane: Plane, x: np.ndarray) -> None:
        self.line = np.arange(-_TABLE_MM, _TABLE_MM, _TABLE_STEP, dtype=np.float32)
        self._plane = plane
        self._index = np.clip(
            (x + np.float32(_TABLE_MM)) / np.float32(_TABLE_STEP), 0, len(self.line) - 1
        ).astype(np.int32)

    def wave(self, number: int) -> np.ndarray:
        """Return interface `number` along the table."""
        amplitude, frequency, phase = self._plane.waves[number].T
        waves = np.sum(amplitude * np.sin(self.line[:, None] * frequency + phase), axis=-1)
        return waves + np.float32(self._plane.tilt) * self.line

    def at_pixels(self, curve: np.ndarray) -> np.ndarray:
        """Return a curve given along the table at every pixel, (H, W) float32."""
        return curve.astype(np.float32).take(self._index)


def _above(z: np.ndarray, border: np.ndarray, width: float) -> np.ndarray:
    """Return 1 above the border, 0 below, over a transition of `width` mm."""
    return np.clip((border - z) / np.float32(width) + np.float32(0.5), 0, 1)


def _line(z: np.ndarray, border: np.ndarray | float, sigma: float) -> np.ndarray:
    return np.exp(-0.5 * ((z - border) / np.float32(sigma)) ** 2)


@dataclass(frozen=True)
class Echoes:
    """Maps of (H, W) float32: echogenicity in dB, coherent interface echoes as amplitude, attenuation in dB/mm."""

    level_db: np.ndarray
    specular: np.ndarray
    excess_db_per_mm: np.ndarray


def echoes(anatomy: Anatomy, plane: Plane, x: np.ndarray, z: np.ndarray) -> Echoes:
    """Return the echoes of the tissue at positions `x` and depths `z`: mm, float32, both (H, W)."""
    a = anatomy
    curves = _Curves(plane, x)
    line = curves.line
    skin_line = a.skin + 0.12 * curves.wave(0)
    gland_line = a.skin + a.fat + a.gland + 0.6 * curves.wave(2)
    scallops = a.scallop * np.abs(np.sin(0.8 * curves.wave(1) + 2 * np.pi * line / (7 + 2 * a.lobule)))
    fat_line = a.skin + a.fat + 0.9 * curves.wave(1) - scallops
    fat_line = np.minimum(np.maximum(fat_line, skin_line + 0.5), gland_line - 0.8)
    retro_line = a.skin + a.fat + a.gland + a.retromammary + 0.5 * curves.wave(3)
    retro_line = np.maximum(gland_line + 0.3, retro_line)
    muscle_line = retro_line + a.muscle + 0.25 * curves.wave(4)
    skin, fat, gland, retro, muscle = (
        curves.at_pixels(curve) for curve in (skin_line, fat_line, gland_line, retro_line, muscle_line)
    )

    lobules = look_up(plane.lobules, z, x)
    fibres = look_up(plane.fibres, z + 0.35 * lobules, x)
    islands = look_up(plane.islands, z, x)
    striae = look_up(plane.striae, z - retro * 0.9, x)

    septa = np.exp(-((lobules / 0.2) ** 2)) * np.clip(0.55 + 0.5 * fibres, 0, 1.3)
    fat_db = -1.0 + 1.2 * islands + np.float32(a.ligaments) * septa + 2.4 * np.maximum(fibres, 0)
    pockets = np.clip((islands - np.float32(1.1 + a.islands)) * 2.5 + 0.5, 0, 1)
    gland_db = np.float32(a.gland_echo) + np.float32(a.fibres) * fibres + 2.0 * islands - 9.0 * pockets
    retro_db = -2.5 + 1.2 * islands + 5.0 * np.exp(-((lobules / 0.12) ** 2))
    muscle_db = -5.0 + 5.5 * np.clip(striae - 0.3, 0, 2.2) + 1.0 * fibres
    deep_db = np.float32(-9.0) + 1.5 * striae - 0.35 * (z - muscle)

    level = np.where(z < skin, np.float32(9.0), deep_db)
    level = _blend(level, muscle_db, _above(z, muscle, 0.5))
    level = _blend(level, retro_db, _above(z, retro, 0.4))
    level = _blend(level, gland_db, _above(z, gland, 0.6))
    level = _blend(level, fat_db, _above(z, fat, 0.5))
    level = _blend(level, np.float32(8.0) + 2 * fibres, _above(z, skin, 0.25))

    broken = np.clip(
        0.75 + 0.5 * islands, 0.15, 1.6
    )  # interfaces shine where they face the beam, so in pieces
    specular = (1.2 + 2.0 * np.abs(fibres)) * _line(z, skin, 0.13) + 2.5 * _line(z, 0.25, 0.16)
    specular += broken * (
        1.7 * _line(z, fat, 0.14) + 2.4 * _line(z, retro, 0.16) + 1.3 * _line(z, gland, 0.15)
    )
    specular += broken * 2.2 * _line(z, muscle, 0.2)
    excess = np.zeros_like(z)
    if a.deep == "pleura":
        pleura = muscle + 1.6
        specular += (1.5 + 3.0 * broken) * _line(z, pleura, 0.3) + 1.2 * broken * _line(z, pleura + 3.2, 0.35)
        excess += np.where(z > pleura, np.float32(0.5), np.float32(0))
    elif a.deep == "ribs":
        across = np.abs(x - np.float32(plane.rib_x)) / 6.5
        surface = muscle + 0.8 + 2.2 * across**2
        hit = np.clip((1 - across) * 4, 0, 1)
        specular += hit * (1.5 + 3.0 * broken) * _line(z, surface, 0.35)
        excess += hit * np.where(z > surface + 0.4, np.float32(3.0), np.float32(0))
    return Echoes(level.astype(np.float32), specular.astype(np.float32), excess.astype(np.float32))


def _blend(below: np.ndarray, above: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return below + weight * (above - below)
