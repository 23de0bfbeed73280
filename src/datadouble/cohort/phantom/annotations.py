"""Words, calipers and rulers burned into a scan, with their places known: the truth for tests of cleaning."""

import numpy as np

from datadouble.cohort.phantom.scan import Annotation

_SIDES = (("MAMA DIREITA", "MAMA ESQUERDA", "MAMA DIR", "MAMA ESQ"), ("RT BREAST", "LT BREAST", "RT", "LT"))
_PLACES = (("QSE", "QSI", "QIE", "QII", "RETROAREOLAR"), ("UOQ", "UIQ", "LOQ", "LIQ", "SUBAREOLAR"))


class _Layer:
    """A layer above the picture; `note` records what was drawn since the last call, by its lit pixels."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.lit = np.zeros(shape, np.uint8)
        self.found: list[Annotation] = []

    def note(self, kind: str, drawn: np.ndarray, text: str = "") -> None:
        rows, columns = np.nonzero(drawn.any(axis=1))[0], np.nonzero(drawn.any(axis=0))[0]
        if not len(rows):
            return
        box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
        self.found.append(Annotation(kind, text, *box))
        np.maximum(self.lit, drawn, out=self.lit)


def annotate(
    image: np.ndarray, mask: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, tuple[Annotation, ...]]:
    """Burn annotations into a copy of a scan, as on the pictures of BUS-BRA.

    Every picture gets one to three lines of words (side, place, now and then the patient's age); most with a lesion
    get two or four calipers joined by dots; half get a depth ruler.

    Parameters
    ----------
    image, mask
        uint8 (H, W). Calipers stand at the edges of what the mask holds. Words are legible from about 128 pixels.

    Returns
    -------
    image : numpy.ndarray
        uint8 (H, W). Outside the boxes it equals the scan.
    annotations : tuple of Annotation
        Half-open boxes, tight around what was drawn; the words have their text.
    """
    layer = _Layer(image.shape[:2])
    tone = int(generator.integers(190, 256))
    if generator.random() < 0.5:
        _ruler(layer, tone, generator)
    if mask.any() and generator.random() < 0.85:
        _calipers(layer, mask > 0, tone, generator)
    _words(layer, mask > 0, tone, generator)
    return np.maximum(image, layer.lit), tuple(layer.found)


def _words(layer: _Layer, lesion: np.ndarray, tone: int, generator: np.random.Generator) -> None:
    from PIL import Image, ImageDraw, ImageFont

    height, width = layer.lit.shape
    size = max(9, round(height * generator.uniform(0.042, 0.06)))
    font = ImageFont.load_default(size=size)
    language = int(generator.integers(2))
    side, place = str(generator.choice(_SIDES[language])), str(generator.choice(_PLACES[language]))
    lines = [f"{side} {place}"] if generator.random() < 0.5 else [side, place]
    if generator.random() < 0.3:
        age = int(generator.integers(18, 89))
        lines.append(f"{age} ANOS" if language == 0 else f"{age} Y")
    step = round(1.35 * size)
    tallest = height - step * len(lines) - 2
    rows = np.nonzero(lesion.any(axis=1))[0]
    low = int(rows[-1]) + 4 if len(rows) else height // 2
    top = (
        int(generator.integers(low, tallest + 1)) if low <= tallest else 2
    )  # below the lesion, else at the top
    left = generator.uniform(0.05, 0.4)
    for number, text in enumerate(lines):
        length = font.getlength(text)
        column = min(round(left * width), max(1, int(width - length - 2)))
        picture = Image.new("L", (width, height))
        ImageDraw.Draw(picture).text((column, top + number * step), text, fill=tone, font=font)
        layer.note("text", np.asarray(picture), text)


def _calipers(layer: _Layer, lesion: np.ndarray, tone: int, generator: np.random.Generator) -> None:
    rows, columns = np.nonzero(lesion)
    middle_row, middle_column = int(rows.mean()), int(columns.mean())
    across = columns[rows == middle_row], rows[columns == middle_column]
    pairs = []
    if len(across[0]):
        pairs.append(((middle_row, int(across[0].min())), (middle_row, int(across[0].max()))))
    if len(across[1]) and generator.random() < 0.7:
        pairs.append(((int(across[1].min()), middle_column), (int(across[1].max()), middle_column)))
    arm = max(2, round(layer.lit.shape[0] * 0.012))
    dotted = generator.random() < 0.6
    for first, last in pairs:
        for row, column in (first, last):
            drawn = np.zeros_like(layer.lit)
            drawn[max(0, row - arm) : row + arm + 1, column] = tone
            drawn[row, max(0, column - arm) : column + arm + 1] = tone
            layer.note("caliper", drawn)
        if dotted:
            length = max(abs(last[0] - first[0]), abs(last[1] - first[1]))
            places = np.arange(2 * arm, length - arm, 2 * arm)
            drawn = np.zeros_like(layer.lit)
            drawn[first[0] + places * (last[0] > first[0]), first[1] + places * (last[1] > first[1])] = round(
                0.8 * tone
            )
            layer.note("line", drawn)


def _ruler(layer: _Layer, tone: int, generator: np.random.Generator) -> None:
    height, width = layer.lit.shape
    column = 2 if generator.random() < 0.5 else width - 3
    inward = 1 if column == 2 else -1
    spacing = height / generator.uniform(6, 9) / 2
    drawn = np.zeros_like(layer.lit)
    for number, row in enumerate(np.arange(2, height - 2, spacing).astype(int)):
        length = max(2, round(height * (0.022 if number % 2 == 0 else 0.012)))
        drawn[
            row, sorted((column, column + inward * length))[0] : max(column, column + inward * length) + 1
        ] = tone
    layer.note("ruler", drawn)
