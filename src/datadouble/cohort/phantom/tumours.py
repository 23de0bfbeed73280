"""Mediastinal tumours of five types: where they grow and what they look like on CT.

Places and looks follow textbook radiology, simplified: thymoma smooth in the prevascular space, lymphoma bulky and
around the vessels, teratoma (the germ-cell tumour) with fat, fluid and calcification, nerve-sheath tumour round
beside the spine, and goitre dense and calcified beside the trachea.
"""

from dataclasses import dataclass

import numpy as np

from datadouble.cohort.phantom.shapes import Canvas, smooth_noise

TYPES = ("thymoma", "lymphoma", "germ-cell", "neurogenic", "thyroid")

LEVEL_ODDS = {
    "thymoma": (0.25, 0.5, 0.25),
    "lymphoma": (0.45, 0.45, 0.1),
    "germ-cell": (0.2, 0.5, 0.3),
    "neurogenic": (0.4, 0.4, 0.2),
    "thyroid": (1.0, 0.0, 0.0),
}
"""How often a type is met at the level of the aortic arch, the carina and the heart."""


@dataclass(frozen=True)
class _Look:
    place: str
    size_mm: tuple[float, float]  # half width
    ratio: tuple[float, float]
    lobes: float  # depth of the lobulation
    hu: tuple[float, float]
    enhancement: tuple[float, float]
    mottle: float  # HU, standard deviation
    fat: float  # parts of the patients with each component
    cysts: float
    calcified: float
    encases: bool = False


_LOOKS = {
    "thymoma": _Look("prevascular", (18, 32), (0.6, 0.85), 0.05, (42, 56), (15, 35), 5, 0.0, 0.2, 0.2),
    "lymphoma": _Look(
        "prevascular", (34, 54), (0.55, 0.8), 0.17, (38, 50), (10, 22), 4, 0.0, 0.15, 0.0, True
    ),
    "germ-cell": _Look("prevascular", (28, 46), (0.75, 0.98), 0.04, (28, 42), (8, 25), 9, 0.85, 0.9, 0.6),
    "neurogenic": _Look("paravertebral", (16, 30), (0.9, 1.15), 0.02, (22, 38), (12, 40), 6, 0.0, 0.2, 0.08),
    "thyroid": _Look("paratracheal", (17, 28), (0.9, 1.2), 0.08, (80, 105), (40, 80), 16, 0.0, 0.5, 0.65),
}


@dataclass(frozen=True)
class Tumour:
    """A tumour as it is in the patient; mm and HU. `encases`: vessels run through it instead of round it."""

    kind: str
    place: str
    x: float
    y: float
    half_width: float
    half_depth: float
    hu: float
    lobes: float
    mottle: float
    fat: bool
    cysts: bool
    calcified: bool
    encases: bool
    key: int


def draw_tumour(kind: str, generator: np.random.Generator, level: str, enhanced: bool) -> Tumour:
    """Draw a tumour of one of `TYPES` for a slice at `level`; `enhanced` is with contrast agent."""
    g, look = generator, _LOOKS[kind]
    half_width = g.uniform(*look.size_mm)
    half_depth = half_width * g.uniform(*look.ratio)
    side = float(g.choice([-1, 1]))
    if look.place == "prevascular":
        middle = 6 if look.encases else side * g.uniform(12, 26)
        x, y = middle + g.normal(0, 4), -62 + 0.55 * half_depth + g.normal(0, 4)
    elif look.place == "paravertebral":
        x, y = side * (24 + 0.8 * half_width), 50 + g.normal(0, 6)
    else:
        x, y = -5 + side * (8 + 0.85 * half_width), 4 + g.normal(0, 5)
    if level == "heart" and look.place == "prevascular":
        y -= 6
    return Tumour(
        kind=kind,
        place=look.place,
        x=float(x),
        y=float(y),
        half_width=float(half_width),
        half_depth=float(half_depth),
        hu=float(g.uniform(*look.hu) + (g.uniform(*look.enhancement) if enhanced else 0)),
        lobes=look.lobes,
        mottle=look.mottle,
        fat=bool(g.random() < look.fat),
        cysts=bool(g.random() < look.cysts),
        calcified=bool(g.random() < look.calcified),
        encases=look.encases,
        key=int(g.integers(2**31)),
    )


def outline(tumour: Tumour, canvas: Canvas, generator: np.random.Generator) -> np.ndarray:
    """Return the tumour in one slice, 0 to 1, float32 (H, W)."""
    patient = np.random.default_rng(tumour.key)
    scale = generator.uniform(0.8, 1.0)
    dx = (canvas.x - np.float32(tumour.x + generator.normal(0, 1))) / np.float32(tumour.half_width * scale)
    dy = (canvas.y - np.float32(tumour.y + generator.normal(0, 1))) / np.float32(tumour.half_depth * scale)
    angle = np.arctan2(dy, dx)
    border = np.ones_like(angle)
    for order in range(2, 8):
        phase = patient.uniform(0, 2 * np.pi) + generator.normal(0, 0.3)
        strength = patient.normal(0, tumour.lobes * 2 / order)
        border += np.float32(strength) * np.cos(np.float32(order) * angle + np.float32(phase))
    radius = np.hypot(dx, dy) / np.maximum(border, 0.5)
    return canvas.soft((1 - radius) * np.float32(min(tumour.half_width, tumour.half_depth)))


def paint(tumour: Tumour, canvas: Canvas, where: np.ndarray, generator: np.random.Generator) -> None:
    """Paint the tumour with what it is made of."""
    pixel = canvas.pixel_mm
    inner = np.full(canvas.shape, np.float32(tumour.hu))
    inner += tumour.mottle * smooth_noise(generator, canvas.shape, 3.5 / pixel)
    if tumour.cysts:
        fluid = np.clip((smooth_noise(generator, canvas.shape, 7 / pixel) - 0.75) * 5, 0, 1)
        inner += fluid * (10 - inner)
    if tumour.fat:
        fat = np.clip((smooth_noise(generator, canvas.shape, 7 / pixel) - 0.5) * 5, 0, 1)
        inner += fat * (-95 - inner)
    if tumour.calcified:
        chalk = np.clip((smooth_noise(generator, canvas.shape, 2.2 / pixel) - 2.0) * 4, 0, 1)
        inner += chalk * (420 - inner)
    canvas.paint(inner, where)
    if tumour.kind in ("germ-cell", "thymoma"):  # a thin capsule
        rim = np.clip(where * (1 - where) * 4, 0, 1)
        canvas.paint(tumour.hu + 15, 0.5 * rim)
