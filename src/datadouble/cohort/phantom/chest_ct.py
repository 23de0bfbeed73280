"""Chest CT, simulated: axial slices in Hounsfield units with mediastinal tumours of five types, from five centres."""

from dataclasses import dataclass

import numpy as np

from datadouble.cohort.phantom import tumours
from datadouble.cohort.phantom.scan import PhantomScan, check_request
from datadouble.cohort.phantom.shapes import Canvas, smooth_noise
from datadouble.randomness import generator_for

CLASSES = ("normal", *tumours.TYPES)
MASK_CLASSES = ("background", *tumours.TYPES)
DESCRIPTORS = ("place", "size_mm", "calcification", "level", "contrast_agent")
WINDOW = (-400, 300)
"""The least and the greatest HU of the 8-bit picture; the structure threshold of -200 HU lies within."""

STRUCTURE_HU = -200
LEVELS = ("arch", "carina", "heart")
FIELD_MM = 370.0
_LEAST_GRID = 256


@dataclass(frozen=True)
class Centre:
    """A hospital's scanner: noise in HU in the middle of the body, reconstruction kernel, and habits."""

    site: str
    device: str
    noise_hu: float
    cutoff: float  # lp/mm at which the kernel has fallen to 1/e
    contrast: float  # part of the patients who get contrast agent
    table: bool


CENTRES = (
    Centre("centre-1", "64 rows, standard kernel", 11, 0.42, 0.8, True),
    Centre("centre-2", "16 rows, soft kernel", 9, 0.28, 0.5, True),
    Centre("centre-3", "128 rows, sharp kernel", 22, 0.65, 0.7, False),
    Centre("centre-4", "64 rows, low dose", 28, 0.40, 0.15, True),
    Centre("centre-5", "256 rows, iterative", 6, 0.34, 0.9, False),
)


@dataclass(frozen=True)
class Chest:
    """What stays the same in all slices of a patient; mm and HU. `blood` is the HU of the vessels."""

    centre: Centre
    level: str
    half_width: float
    half_depth: float
    fat: float
    muscle: float
    aorta: float
    heart: float
    blood: float
    contrast_agent: bool
    lung: float
    turn: float
    key: int


def _draw_chest(generator: np.random.Generator, label: str) -> Chest:
    g = generator
    centre = CENTRES[int(g.integers(len(CENTRES)))]
    half_width = g.uniform(148, 174)
    enhanced = bool(g.random() < centre.contrast)
    odds = tumours.LEVEL_ODDS.get(label, (0.34, 0.33, 0.33))
    return Chest(
        centre=centre,
        level=str(g.choice(LEVELS, p=odds)),
        half_width=half_width,
        half_depth=half_width * g.uniform(0.68, 0.8),
        fat=g.uniform(5, 24),
        muscle=g.uniform(9, 17),
        aorta=g.uniform(13, 18),
        heart=g.uniform(0.9, 1.12),
        blood=g.uniform(140, 260) if enhanced else g.uniform(35, 48),
        contrast_agent=enhanced,
        lung=g.uniform(-890, -800),
        turn=g.normal(0, 0.03),
        key=int(g.integers(2**31)),
    )


def draw(patient: int, picture: int, label: str, *, size: int = 128, seed: int = 0) -> PhantomScan:
    """Draw one slice of one patient.

    Parameters
    ----------
    label
        ``"normal"`` or a type of tumour, one of `CLASSES`.
    size
        Side of the square picture in pixels; it shows 370 mm.

    Returns
    -------
    PhantomScan
        `image` is HU through `WINDOW`, `hounsfield` the HU themselves, and `structure` is 1 where the body is
        denser than -200 HU.

    Raises
    ------
    DataDoubleError
        On an unknown label or an impossible size.
    """
    check_request(label, CLASSES, size)
    chest = _draw_chest(generator_for(seed, "chest-ct", "patient", patient, label), label)
    generator = generator_for(seed, "chest-ct", "picture", patient, label, picture)
    grid = max(size, _LEAST_GRID)
    canvas = Canvas(grid, FIELD_MM, turn=chest.turn)
    patient_random = np.random.default_rng(chest.key)
    body = _chest_wall(canvas, chest, patient_random)
    _lungs(canvas, chest, generator)
    tumour, growth = None, None
    if label != "normal":
        of_tumour = generator_for(seed, "chest-ct", "tumour", patient, label)
        tumour = tumours.draw_tumour(label, of_tumour, chest.level, chest.contrast_agent)
        growth = tumours.outline(tumour, canvas, generator)
        if tumour.encases:
            tumours.paint(tumour, canvas, growth, generator)
    _mediastinum(canvas, chest, patient_random, generator)
    if tumour is not None and growth is not None and not tumour.encases:
        tumours.paint(tumour, canvas, growth, generator)
    _bones(canvas, chest, patient_random)
    mask = np.zeros((grid, grid), np.uint8)
    if tumour is not None and growth is not None:
        # An encasing tumour ends where a vessel or an airway runs through it.
        own = growth > 0.5
        if tumour.encases:
            own &= np.abs(canvas.hu - tumour.hu) < 60
        mask[own & body] = MASK_CLASSES.index(label)
    hu = _acquire(canvas.hu, chest.centre, body, generator)
    return _finish(hu, mask, body, size, label, chest, tumour)


def _finish(
    hu: np.ndarray,
    mask: np.ndarray,
    body: np.ndarray,
    size: int,
    label: str,
    chest: Chest,
    tumour: tumours.Tumour | None,
) -> PhantomScan:
    from datadouble.cohort.pixels import fit_square

    shifted = np.round(np.clip(hu, -1024, 3071) + 1024).astype(np.uint16)
    hounsfield = fit_square(shifted, size).astype(np.int16) - np.int16(1024)
    inside = fit_square(body.astype(np.uint8), size, mask=True)
    low, high = WINDOW
    grey = np.clip((hounsfield.astype(np.float32) - low) / (high - low), 0, 1)
    return PhantomScan(
        image=np.round(255 * grey).astype(np.uint8),
        mask=fit_square(mask, size, mask=True),
        label=label,
        site=chest.centre.site,
        device=chest.centre.device,
        descriptors={
            "place": tumour.place if tumour else "",
            "size_mm": f"{2 * max(tumour.half_width, tumour.half_depth):.0f}" if tumour else "",
            "calcification": ("present" if tumour.calcified else "none") if tumour else "",
            "level": chest.level,
            "contrast_agent": "yes" if chest.contrast_agent else "no",
        },
        structure=((hounsfield > STRUCTURE_HU) & (inside > 0)).astype(np.uint8),
        hounsfield=hounsfield,
    )


def _chest_wall(canvas: Canvas, chest: Chest, generator: np.random.Generator) -> np.ndarray:
    """Paint skin, fat and muscle, and return the body as bool (H, W)."""
    w, d = chest.half_width, chest.half_depth
    if chest.centre.table:
        canvas.paint(-700, canvas.ellipse(0, d + 95, 260, 92) - canvas.ellipse(0, d + 91, 256, 92))
    body = canvas.ellipse(0, 0, w, d, power=2.5)
    canvas.paint(30, body)
    canvas.paint(-102, canvas.ellipse(0, 0, w - 2, d - 2, power=2.5))
    fat = chest.fat
    wall = canvas.ellipse(0, 2, w - fat - 2, d - 0.55 * fat - 3, power=2.4)
    canvas.paint(52, wall)
    strands = smooth_noise(generator, canvas.shape, 2.5 / canvas.pixel_mm)
    canvas.paint(-80, wall * np.clip((strands - 1.1) * 4, 0, 1))  # fat between the muscles
    for side in (-1, 1):  # the shoulder muscles at the back
        canvas.paint(-95, canvas.ellipse(side * 0.5 * w, 0.62 * d, 36, 3, tilt=-side * 0.35) * wall)
    return body > 0.5


def _thorax(canvas: Canvas, chest: Chest, margin: float = 0.0) -> np.ndarray:
    half_width = chest.half_width - chest.fat - chest.muscle - 4 - margin
    half_depth = chest.half_depth - 0.55 * chest.fat - chest.muscle - 7 - margin
    return canvas.ellipse(0, -2, half_width, half_depth, power=2.3)


# Half widths of the mediastinum in mm, from front to back: to the patient's right (left in the picture) and left.
_PROFILES = {
    "arch": ((14, 26, 30, 26, 24, 26), (14, 30, 38, 40, 32, 24)),
    "carina": ((12, 28, 36, 34, 28, 26), (14, 34, 44, 42, 36, 26)),
    "heart": ((20, 46, 52, 42, 28, 26), (26, 72, 84, 66, 36, 26)),
}


def _lungs(canvas: Canvas, chest: Chest, generator: np.random.Generator) -> None:
    canvas.paint(-95, _thorax(canvas, chest))
    depth = chest.half_depth - 0.55 * chest.fat - chest.muscle - 9
    places = np.linspace(-depth, depth * 0.95, 6)
    right, left = (
        np.array(side) * (chest.heart if chest.level == "heart" else 1.0) for side in _PROFILES[chest.level]
    )
    right, left = right * generator.uniform(0.95, 1.05, 6), left * generator.uniform(0.95, 1.05, 6)
    rows = canvas.y[:, 0]
    width = np.where(
        canvas.x < 0, _smooth(rows, places, right)[:, None], _smooth(rows, places, left)[:, None]
    )
    spine = canvas.ellipse(0, _spine_depth(chest), 24, 30)
    lungs = _thorax(canvas, chest, 1.5) * canvas.soft(np.abs(canvas.x) - width) * (1 - spine)
    gravity = 45 * (canvas.y / chest.half_depth)  # blood sinks to the back
    texture = smooth_noise(generator, canvas.shape, 3 / canvas.pixel_mm)
    canvas.paint(chest.lung + gravity + 14 * texture, lungs)
    # Vessels: the zero lines of smooth noise, broken up; wider towards the hila.
    for scale, thickness, gate in ((9.0, 0.12, -0.1), (5.0, 0.09, 0.1), (3.0, 0.08, 0.5)):
        line = smooth_noise(generator, canvas.shape, scale / canvas.pixel_mm)
        breaks = smooth_noise(generator, canvas.shape, 1.2 * scale / canvas.pixel_mm)
        near = np.exp(-(((np.abs(canvas.x) - 40) / 70) ** 2))
        vessel = np.exp(-((line / (thickness * (0.5 + near))) ** 2)) * np.clip((breaks - gate) * 3, 0, 1)
        canvas.paint(0.6 * chest.blood, 0.75 * vessel * lungs)


def _spine_depth(chest: Chest) -> float:
    """Return the place of the vertebral body's middle, so that the spinous process ends below the skin."""
    return chest.half_depth - 0.55 * chest.fat - 57


def _smooth(at: np.ndarray, places: np.ndarray, values: np.ndarray) -> np.ndarray:
    from scipy.interpolate import PchipInterpolator

    return PchipInterpolator(places, values)(np.clip(at, places[0], places[-1]))


def _mediastinum(
    canvas: Canvas, chest: Chest, patient: np.random.Generator, generator: np.random.Generator
) -> None:
    """Paint heart, great vessels, airways and gullet."""
    r, blood = chest.aorta, chest.blood

    def jitter(spread: float = 2.0) -> float:
        return float(patient.normal(0, spread) + generator.normal(0, 0.25 * spread))

    def vessel(x: float, y: float, across: float, along: float, tilt: float = 0.0, hu: float = blood) -> None:
        canvas.paint(40, canvas.ellipse(x, y, across + 1.2, along + 1.2, tilt=tilt))
        canvas.paint(hu, canvas.ellipse(x, y, across, along, tilt=tilt))

    def airway(x: float, y: float, across: float, along: float, tilt: float = 0.0) -> None:
        canvas.paint(35, canvas.ellipse(x, y, across + 1.6, along + 1.6, tilt=tilt))
        canvas.paint(-990, canvas.ellipse(x, y, across, along, tilt=tilt))

    canvas.paint(38, canvas.ellipse(8 + jitter(), 26 + jitter(), 8, 5.5))  # oesophagus
    if chest.level != "arch":
        vessel(24 + jitter(), 38 + jitter(), 0.82 * r, 0.82 * r)  # descending aorta
    if chest.level == "arch":
        vessel(14 + jitter(), -6 + jitter(), 34, 0.8 * r, tilt=0.75)
        vessel(-22 + jitter(), -18 + jitter(), 9, 8, hu=1.1 * blood)  # superior vena cava
        airway(-5 + jitter(), 8 + jitter(), 9.5, 9)
    elif chest.level == "carina":
        vessel(18 + jitter(), -16 + jitter(), 14, 19, tilt=-0.5, hu=1.05 * blood)  # pulmonary trunk
        vessel(-6 + jitter(), 1 + jitter(), 30, 9, tilt=-0.1, hu=1.05 * blood)  # right pulmonary artery
        vessel(-12 + jitter(), -24 + jitter(), r, r)
        vessel(-32 + jitter(), -14 + jitter(), 9, 8, hu=1.1 * blood)
        airway(-20 + jitter(), 15 + jitter(), 10, 6.5, tilt=0.35)
        airway(18 + jitter(), 16 + jitter(), 11, 6, tilt=-0.3)
    else:
        h = chest.heart
        muscle = 45 + 0.3 * (blood - 40)
        canvas.paint(muscle, canvas.ellipse(20, -16, 62 * h, 46 * h, tilt=0.5))
        for x, y, across, along, tilt, share in (
            (44, -8, 27, 16, 0.75, 1.0),  # left ventricle
            (4, -36, 32, 15, 0.35, 0.97),  # right ventricle
            (-24, -16, 17, 22, 0.2, 1.04),  # right atrium
            (12, 14, 24, 14, 0.0, 1.0),  # left atrium
        ):
            canvas.paint(share * blood, canvas.ellipse(x * h, y * h, across * h, along * h, tilt=tilt))
        canvas.paint(40, canvas.ellipse(8, 30, 8, 5.5))


def _bones(canvas: Canvas, chest: Chest, generator: np.random.Generator) -> None:
    back = _spine_depth(chest)
    marrow = smooth_noise(generator, canvas.shape, 1.2 / canvas.pixel_mm) * 35

    def bone(x: float, y: float, across: float, along: float, tilt: float = 0.0, rim: float = 2.0) -> None:
        canvas.paint(520, canvas.ellipse(x, y, across, along, tilt=tilt))
        canvas.paint(185 + marrow, canvas.ellipse(x, y, across - rim, along - rim, tilt=tilt))

    for side in (-1, 1):
        bone(side * 22, back + 24, 19, 5, tilt=side * 0.35)  # transverse process
        bone(side * 8, back + 32, 3.5, 9, tilt=side * 0.45)  # lamina
    bone(0, back + 41, 3.2, 9)
    bone(0, back, 18, 15)
    canvas.paint(28, canvas.ellipse(0, back + 22, 10, 8.5))
    front = -(chest.half_depth - 0.55 * chest.fat - 0.75 * chest.muscle - 4)
    bone(0, front, 20 if chest.level != "arch" else 27, 6.5, rim=1.6)
    half_width = chest.half_width - chest.fat - 0.55 * chest.muscle - 3
    half_depth = chest.half_depth - 0.55 * chest.fat - 0.6 * chest.muscle - 5
    for side in (-1, 1):
        start = generator.uniform(-0.1, 0.15)
        for angle in np.arange(-1.15 + start, 1.3, 0.36):
            corner = (abs(np.cos(angle)) ** 2.3 + abs(np.sin(angle)) ** 2.3) ** (-1 / 2.3)
            x, y = side * half_width * corner * np.cos(angle), -2 + half_depth * corner * np.sin(angle)
            tangent = np.arctan2(half_depth * np.cos(angle), -side * half_width * np.sin(angle))
            bone(x, y, generator.uniform(9, 17), generator.uniform(3.4, 4.6), tilt=float(tangent), rim=1.5)
        if chest.level != "heart":
            bone(side * 0.70 * chest.half_width, 0.66 * chest.half_depth, 30, 3.2, tilt=-side * 0.75, rim=1.4)


def _acquire(hu: np.ndarray, centre: Centre, body: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Blur by the kernel and add noise with the kernel's spectrum; float32 (H, W).

    The noise power of filtered backprojection rises with the frequency and falls with the kernel (Riederer,
    Pelc and Chesler, Phys Med Biol 1978;23:446).
    """
    from scipy import fft
    from scipy.ndimage import gaussian_filter

    rows, columns = hu.shape
    pixel = FIELD_MM / rows
    frequency = np.hypot(fft.fftfreq(rows, pixel)[:, None], fft.rfftfreq(columns, pixel)[None]).astype(
        np.float32
    )
    kernel = np.exp(-((frequency / centre.cutoff) ** 2))
    blurred = fft.irfft2(fft.rfft2(hu.astype(np.float32)) * kernel, s=hu.shape)
    white = generator.standard_normal(hu.shape, dtype=np.float32)
    noise = fft.irfft2(fft.rfft2(white) * (np.sqrt(frequency) + 0.03) * kernel, s=hu.shape)
    noise *= centre.noise_hu / noise.std()
    # Most photons are lost in the middle of the body.
    strength = 0.45 + 0.75 * gaussian_filter(body.astype(np.float32), 45 / pixel, mode="constant")
    return blurred + noise * strength
