"""The layers of a breast: skin, fat with Cooper's ligaments, fibroglandular tissue, retromammary fat, muscle, ribs.

A patient has an anatomy; each picture is a plane through it. Echogenicity is in dB relative to fat.
"""

from dataclasses import dataclass

import numpy as np

FIELD_MM = 60.0  # textures repeat after this length
_FIELD_PIXELS = 384


def texture(generator: np.random.Generator, depth_mm: float, width_mm: float) -> np.ndarray:
    """Return periodic Gaussian noise of unit variance, float32, with the given correlation lengths (1 sigma, mm)."""
    from scipy.ndimage import gaussian_filter

    white = generator.standard_normal((_FIELD_PIXELS, _FIELD_PIXELS), dtype=np.float32)
    scale = _FIELD_PIXELS / FIELD_MM
    smooth = gaussian_filter(white, (depth_mm * scale, width_mm * scale), mode="wrap", truncate=3.0)
    return smooth / smooth.std()


def look_up(field: np.ndarray, z: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return a periodic texture at depths `z` and positions `x` (mm, same shape), bilinear."""
    scale = np.float32(_FIELD_PIXELS / FIELD_MM)
    row, column = z * scale, x * scale
    row0, column0 = np.floor(row), np.floor(column)
    fr, fc = row - row0, column - column0
    i0, j0 = row0.astype(np.int32) % _FIELD_PIXELS, column0.astype(np.int32) % _FIELD_PIXELS
    i1, j1 = (i0 + 1) % _FIELD_PIXELS, (j0 + 1) % _FIELD_PIXELS
    flat = field.ravel()
    i0 *= _FIELD_PIXELS
    i1 *= _FIELD_PIXELS
    top = flat[i0 + j0] * (1 - fc) + flat[i0 + j1] * fc
    bottom = flat[i1 + j0] * (1 - fc) + flat[i1 + j1] * fc
    return top * (1 - fr) + bottom * fr


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
    fat, gland = {"fatty": (16, 4), "scattered": (9.5, 9), "heterogeneous": (6, 13), "dense": (3.2, 18)}[density]
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
        fibres=g.uniform(2.0, 4.5),
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
        own, new = texture(patient, depth_mm, width_mm), texture(generator, depth_mm, width_mm)
        mixed = np.cos(angle) * own + np.sin(angle) * new
        return np.roll(mixed, shift, axis=1).astype(np.float32)

    waves = np.empty((6, 4, 3), np.float32)
    number = 2 * np.pi / np.array([55, 27, 14, 8])
    waves[..., 0] = np.abs(patient.normal(0, [0.9, 0.6, 0.25, 0.10], (6, 4)))
    waves[..., 1] = number * patient.uniform(0.85, 1.15, (6, 4))
    waves[..., 2] = patient.uniform(0, 2 * np.pi, (6, 4)) + generator.normal(0, 0.9, (6, 4))
    lobule = anatomy.lobule
    return Plane(
        lobules=mix(lobule * 0.62, lobule * 1.5),
        fibres=mix(0.22, 2.0),
        islands=mix(0.9, 2.1),
        striae=mix(0.16, 6.0),
        waves=waves,
        rib_x=generator.uniform(-14, 14),
        tilt=anatomy.tilt + generator.normal(0, 0.02),
    )


def _interface(plane: Plane, index: int, x: np.ndarray) -> np.ndarray:
    amplitude, number, phase = plane.waves[index].T
    return np.sum(amplitude * np.sin(x[..., None] * number + phase), axis=-1) + plane.tilt * x


def _above(z: np.ndarray, border: np.ndarray, width: float) -> np.ndarray:
    """Return 1 above the border, 0 below, over a transition of `width` mm."""
    return np.clip((border - z) / np.float32(width) + np.float32(0.5), 0, 1)


def _line(z: np.ndarray, border: np.ndarray, sigma: float) -> np.ndarray:
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
    xs = x[0] if np.ptp(x[:, :1]) == 0 else x  # without a lesion, the interfaces are functions of x alone

    def border(index: int, depth: float, relief: float) -> np.ndarray:
        curve = depth + relief * _interface(plane, index, xs)
        return np.broadcast_to(curve, x.shape).astype(np.float32)

    skin = border(0, a.skin, 0.12)
    scalloped = a.scallop * np.abs(np.sin(_interface(plane, 1, xs) * 0.8 + 2 * np.pi * xs / (7 + 2 * a.lobule)))
    fat = border(1, a.skin + a.fat, 0.9) - scalloped.astype(np.float32)
    gland = border(2, a.skin + a.fat + a.gland, 0.6)
    retro = np.maximum(gland + 0.3, border(3, a.skin + a.fat + a.gland + a.retromammary, 0.5))
    muscle = retro + border(4, a.muscle, 0.25) - np.float32(plane.tilt) * x
    fat = np.minimum(np.maximum(fat, skin + 0.5), gland - 0.8)

    lobules = look_up(plane.lobules, z, x)
    fibres = look_up(plane.fibres, z + 0.35 * lobules, x)
    islands = look_up(plane.islands, z, x)
    striae = look_up(plane.striae, z - retro * 0.9, x)

    septa = np.exp(-((lobules / 0.13) ** 2))
    fat_db = -1.0 + 1.2 * islands + np.float32(a.ligaments) * septa + 1.6 * np.maximum(fibres, 0)
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

    broken = np.clip(0.75 + 0.5 * islands, 0.15, 1.6)  # interfaces shine where they face the beam, so in pieces
    specular = 3.5 * _line(z, skin, 0.13) + 5.0 * _line(z, np.float32(0.25), 0.16)
    specular += broken * (1.7 * _line(z, fat, 0.14) + 2.4 * _line(z, retro, 0.16) + 1.3 * _line(z, gland, 0.15))
    specular += broken * 2.2 * _line(z, muscle, 0.2)
    excess = np.zeros_like(z)
    if a.deep == "pleura":
        pleura = muscle + 1.6
        specular += 7.0 * _line(z, pleura, 0.22) + 2.5 * _line(z, pleura + 3.2, 0.35)
        excess += np.where(z > pleura, np.float32(0.5), np.float32(0))
    elif a.deep == "ribs":
        across = np.abs(x - np.float32(plane.rib_x)) / 6.5
        surface = muscle + 0.8 + 2.2 * across**2
        hit = np.clip((1 - across) * 4, 0, 1)
        specular += hit * 8.0 * _line(z, surface, 0.25)
        excess += hit * np.where(z > surface + 0.4, np.float32(3.0), np.float32(0))
    return Echoes(level.astype(np.float32), specular.astype(np.float32), excess.astype(np.float32))


def _blend(below: np.ndarray, above: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return below + weight * (above - below)
