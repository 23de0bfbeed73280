"""Breast lesions after the ultrasound lexicon of BI-RADS (ACR, 5th edition, 2013)."""

from dataclasses import dataclass

import numpy as np

from datadouble.cohort.phantom.tissue import look_up, texture, white_field

LEXICON: dict[str, tuple[str, ...]] = {
    "shape": ("oval", "round", "irregular"),
    "margin": ("circumscribed", "indistinct", "angular", "microlobulated", "spiculated"),
    "orientation": ("parallel", "not parallel"),
    "echo_pattern": (
        "anechoic",
        "hyperechoic",
        "complex cystic and solid",
        "hypoechoic",
        "isoechoic",
        "heterogeneous",
    ),
    "posterior_features": ("none", "enhancement", "shadowing", "combined"),
    "calcifications": ("none", "in mass"),
    "halo": ("absent", "present"),
}
"""The terms of each descriptor."""

# How often each term occurs in a class. The classes overlap as they do in clinics, but less: in the demo a person
# must be able to tell them apart at 64 pixels.
_FREQUENCIES: dict[str, dict[str, dict[str, float]]] = {
    "2": {
        "shape": {"oval": 0.6, "round": 0.4},
        "margin": {"circumscribed": 1.0},
        "orientation": {"parallel": 1.0},
        "echo_pattern": {"anechoic": 1.0},
        "posterior_features": {"enhancement": 1.0},
        "calcifications": {"none": 1.0},
        "halo": {"absent": 1.0},
    },
    "3": {
        "shape": {"oval": 0.95, "round": 0.05},
        "margin": {"circumscribed": 1.0},
        "orientation": {"parallel": 1.0},
        "echo_pattern": {"hypoechoic": 0.85, "isoechoic": 0.15},
        "posterior_features": {"none": 0.75, "enhancement": 0.25},
        "calcifications": {"none": 0.97, "in mass": 0.03},
        "halo": {"absent": 1.0},
    },
    "4": {
        "shape": {"irregular": 0.75, "oval": 0.15, "round": 0.1},
        "margin": {"microlobulated": 0.4, "indistinct": 0.35, "angular": 0.25},
        "orientation": {"parallel": 0.75, "not parallel": 0.25},
        "echo_pattern": {"heterogeneous": 0.45, "hypoechoic": 0.35, "complex cystic and solid": 0.2},
        "posterior_features": {"none": 0.6, "combined": 0.2, "shadowing": 0.2},
        "calcifications": {"none": 0.7, "in mass": 0.3},
        "halo": {"absent": 0.9, "present": 0.1},
    },
    "5": {
        "shape": {"irregular": 1.0},
        "margin": {"spiculated": 0.75, "angular": 0.15, "indistinct": 0.1},
        "orientation": {"not parallel": 0.8, "parallel": 0.2},
        "echo_pattern": {"hypoechoic": 0.9, "heterogeneous": 0.1},
        "posterior_features": {"shadowing": 0.9, "combined": 0.1},
        "calcifications": {"none": 0.55, "in mass": 0.45},
        "halo": {"present": 0.85, "absent": 0.15},
    },
}

CLASSES = ("normal", *_FREQUENCIES)
"""Image classes: healthy, and the BI-RADS categories 2 to 5."""


@dataclass(frozen=True)
class Lesion:
    """A lesion as it is in the patient: descriptors, and lengths in mm."""

    terms: dict[str, str]
    half_width: float
    half_height: float
    x: float
    z: float
    tilt: float
    echo_db: float
    excess_db_per_mm: float
    key: int


def draw_lesion(label: str, generator: np.random.Generator, *, depth_mm: float, width_mm: float) -> Lesion:
    """Draw a lesion of BI-RADS category `label` (``"2"`` to ``"5"``) for a picture of the given extent."""
    g = generator
    terms = {}
    for name, frequencies in _FREQUENCIES[label].items():
        weights = np.array(list(frequencies.values()))
        terms[name] = str(g.choice(list(frequencies), p=weights / weights.sum()))
    size = float(
        np.clip(g.lognormal(np.log({"2": 6.2, "3": 6.6, "4": 6.4, "5": 6.6}[label]), 0.24), 3.6, 10.5)
    )
    ratio = {"oval": g.uniform(0.48, 0.66), "round": g.uniform(0.9, 1.05), "irregular": g.uniform(0.62, 0.88)}
    across, along = size, size * ratio[terms["shape"]]
    if terms["shape"] == "round":
        across, along = 0.8 * across, 0.8 * along
    if terms["orientation"] == "not parallel":
        across, along = 0.9 * along, 0.9 * across * g.uniform(0.95, 1.1)
    along = min(along, 0.3 * depth_mm)
    echo = {
        "anechoic": -42.0,
        "hypoechoic": g.uniform(-12, -8) if label != "5" else g.uniform(-15, -11),
        "isoechoic": g.uniform(-4.5, -3),
        "hyperechoic": g.uniform(8, 11),
        "heterogeneous": g.uniform(-9, -6),
        "complex cystic and solid": g.uniform(-8, -4),
    }[terms["echo_pattern"]]
    posterior = terms["posterior_features"]
    excess = {
        "none": g.uniform(-0.15, 0.15),
        "enhancement": -g.uniform(0.9, 1.4) if label == "2" else -g.uniform(0.45, 0.75),
        "shadowing": g.uniform(1.7, 2.8) if label == "5" else g.uniform(0.7, 1.1),
        "combined": g.uniform(1.0, 1.6),
    }[posterior]
    low, high = 3.0 + along, 0.62 * depth_mm
    return Lesion(
        terms=terms,
        half_width=across,
        half_height=along,
        x=float(g.uniform(-1, 1) * max(0.5, 0.30 * width_mm - 0.6 * across)),
        z=float(np.clip(g.normal(0.37 * depth_mm, 0.08 * depth_mm), low, max(low + 0.1, high))),
        tilt=float(g.normal(0, 0.12)),
        echo_db=float(echo),
        excess_db_per_mm=float(excess),
        key=int(g.integers(2**31)),
    )


def _outline(lesion: Lesion, generator: np.random.Generator) -> np.ndarray:
    """Return the radius relative to the ellipse at 720 angles."""
    patient = np.random.default_rng(lesion.key)
    angle = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    radius = np.ones_like(angle)

    def waves(orders: range, strength: float) -> np.ndarray:
        total = np.zeros_like(angle)
        for order in orders:
            phase = patient.uniform(0, 2 * np.pi) + generator.normal(0, 0.35)
            total += patient.normal(0, strength * 2 / order) * np.cos(order * angle + phase)
        return total

    irregular = lesion.terms["shape"] == "irregular"
    radius += waves(range(2, 8), 0.085 if irregular else 0.02)
    margin = lesion.terms["margin"]
    if margin == "angular":
        corners = int(patient.integers(5, 8))
        offset = patient.uniform(0, 2 * np.pi)
        sector = (
            np.mod(angle + 0.25 * waves(range(1, 3), 0.6) + offset, 2 * np.pi / corners) - np.pi / corners
        )
        radius *= 0.92 * np.cos(np.pi / corners) / np.cos(sector) + 0.12
    elif margin == "microlobulated":
        count = int(patient.integers(9, 14))
        radius *= 0.9 + 0.17 * np.abs(np.sin(0.5 * count * angle + waves(range(1, 4), 0.3)))
    elif margin == "spiculated":
        for _ in range(int(patient.integers(11, 17))):
            centre, width = patient.uniform(0, 2 * np.pi), patient.uniform(0.05, 0.11)
            turn = np.angle(np.exp(1j * (angle - centre - generator.normal(0, 0.05))))
            radius += patient.uniform(0.06, 0.26) * np.exp(-np.abs(turn) / width)
    return np.maximum(radius, 0.45).astype(np.float32)


@dataclass(frozen=True)
class LesionCut:
    """One plane through a lesion, as maps of (H, W).

    `inside` goes from 0 to 1 over the margin; `mask` is where the lesion ends for an annotator; `pull` moves the
    surrounding tissue: its value times the vector from the centre is added to where the tissue is looked up.
    """

    lesion: Lesion
    inside: np.ndarray
    mask: np.ndarray
    radius: np.ndarray
    pull: np.ndarray
    x: np.ndarray
    z: np.ndarray


def cut(lesion: Lesion, generator: np.random.Generator, x: np.ndarray, z: np.ndarray) -> LesionCut:
    """Cut a plane through `lesion`, a little beside its middle; `x`, `z` are positions in mm, (H, W) float32."""
    scale = generator.uniform(0.85, 1.0)
    tilt = lesion.tilt + generator.normal(0, 0.06)
    dx = x - np.float32(lesion.x + generator.normal(0, 1.5))
    dz = z - np.float32(lesion.z + generator.normal(0, 0.5))
    half_width = lesion.half_width * scale * generator.uniform(0.93, 1.07)
    half_height = lesion.half_height * scale * generator.uniform(0.95, 1.05)
    u = (dx * np.float32(np.cos(tilt)) + dz * np.float32(np.sin(tilt))) / np.float32(half_width)
    v = (dz * np.float32(np.cos(tilt)) - dx * np.float32(np.sin(tilt))) / np.float32(half_height)
    outline = _outline(lesion, generator)
    angle = np.arctan2(v, u) * np.float32(720 / (2 * np.pi))
    index = angle.astype(np.int32) % 720
    border = outline[index]
    radius = np.sqrt(u * u + v * v) / border
    margin = lesion.terms["margin"]
    width = {
        "circumscribed": 0.35,
        "indistinct": 2.6,
        "spiculated": 1.0,
        "angular": 0.8,
        "microlobulated": 0.6,
    }
    mean = 0.5 * (half_width + half_height)
    inside = np.clip(0.5 - (radius - 1) * np.float32(mean / width[margin]), 0, 1)
    inside = inside * inside * (3 - 2 * inside)
    strength = {"circumscribed": -0.4, "microlobulated": -0.25, "spiculated": 0.35}.get(margin, 0.0)
    pull = np.float32(strength) * np.exp(-(((np.maximum(radius, 1) - 1) / 0.55) ** 2))
    return LesionCut(lesion, inside, radius <= 1, radius, pull, dx, dz)


def apply(
    lesion_cut: LesionCut,
    level_db: np.ndarray,
    specular: np.ndarray,
    excess: np.ndarray,
    generator: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Put a lesion into the tissue's maps (see `tissue.Echoes`) and return the new ones."""
    cut_, lesion, terms = lesion_cut, lesion_cut.lesion, lesion_cut.lesion.terms
    inside, radius = cut_.inside, cut_.radius
    mean = np.float32(0.5 * (lesion.half_width + lesion.half_height))
    pattern = terms["echo_pattern"]
    inner = np.full_like(level_db, lesion.echo_db)
    if pattern != "anechoic":
        coarse = look_up(texture(white_field(generator), 0.6, 1.0), cut_.z, cut_.x)
        inner += {"heterogeneous": 5.0, "complex cystic and solid": 2.5}.get(pattern, 1.2) * coarse
        if pattern == "complex cystic and solid":
            pockets = look_up(texture(white_field(generator), 1.2, 1.6), cut_.z, cut_.x)
            inner -= 26 * np.clip((pockets - 0.1) * 4, 0, 1)
        elif pattern == "heterogeneous":
            inner += 8 * np.clip(
                look_up(texture(white_field(generator), 0.35, 1.3), cut_.z, cut_.x) - 0.9, 0, 1
            )
    else:
        # Reverberation of the front wall fills the upper part of a cyst with haze.
        front = np.clip(-cut_.z / np.float32(lesion.half_height), 0, 1)
        inner += 16 * front**2
    outside = level_db
    if terms["halo"] == "present":
        ring = np.exp(-(((radius - 1.3) * mean / 1.7) ** 2)) * (radius > 0.9)
        outside = outside + (np.float32(12.0) - outside) * np.clip(1.2 * ring, 0, 1) + 1.5 * ring
    level = outside + inside * (inner - outside)
    if terms["margin"] == "circumscribed":
        facing = np.abs(cut_.z) / np.hypot(cut_.x, cut_.z).clip(0.1)
        wall = np.exp(-(((radius - 1.03) * mean / 0.22) ** 2))
        specular = specular * (1 - inside) + (2.0 * facing**2 + 0.2) * wall
    else:
        specular = specular * (1 - inside)
    if terms["margin"] == "spiculated":
        level = _spicules(cut_, level, generator)
    excess = excess + inside * np.float32(lesion.excess_db_per_mm)
    if terms["posterior_features"] == "combined":
        excess -= inside * np.float32(1.9 * lesion.excess_db_per_mm) * (cut_.x > 0.1 * lesion.half_width)
    if terms["calcifications"] == "in mass":
        specular = specular + _calcifications(cut_, generator)
    return level, specular, excess


def _spicules(lesion_cut: LesionCut, level: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Draw dark strands that run from the mass into the tissue, each beside a bright one."""
    near = np.nonzero((lesion_cut.radius > 0.85) & (lesion_cut.radius < 2.0))
    x, z = lesion_cut.x[near], lesion_cut.z[near]
    angle, distance = np.arctan2(z, x), np.hypot(x, z)
    reach = np.clip((2.0 - lesion_cut.radius[near]) / 0.9, 0, 1)
    change = np.zeros_like(x)
    for _ in range(int(generator.integers(8, 14))):
        centre, width = generator.uniform(-np.pi, np.pi), generator.uniform(0.3, 0.6)
        turn = np.float32(centre) - angle
        turn -= np.float32(2 * np.pi) * np.round(turn / np.float32(2 * np.pi))
        across = turn * distance / np.float32(width)
        change += -12 * np.exp(-(across**2)) + 5 * np.exp(-((np.abs(across) - 1.8) ** 2))
    level = level.copy()
    level[near] += reach * change
    return level


def _calcifications(lesion_cut: LesionCut, generator: np.random.Generator) -> np.ndarray:
    """Return bright specks of 0.2 to 0.4 mm within the mass."""
    specks = np.zeros_like(lesion_cut.x)
    rows, columns = np.nonzero(lesion_cut.radius < 0.75)
    if not len(rows):
        return specks
    for pick in generator.integers(len(rows), size=int(generator.integers(4, 11))):
        size = np.float32(generator.uniform(0.18, 0.32))
        dx = lesion_cut.x - lesion_cut.x[rows[pick], columns[pick]]
        dz = lesion_cut.z - lesion_cut.z[rows[pick], columns[pick]]
        near = np.abs(dx) + np.abs(dz) < 2
        specks[near] += generator.uniform(4, 9) * np.exp(-0.5 * (dx[near] ** 2 + dz[near] ** 2) / size**2)
    return specks
