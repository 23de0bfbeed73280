"""In which order one reader sees the images of one part.

The order follows from the study's seed, the reader and the part, so that it can be written down again after the fact,
and no two readers tire at the same images.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from datadouble.randomness import generator_for
from datadouble.study.study import Study, Truth

MOST_BETWEEN = 20
"""Images at least between an image and its repeat, where a part has 60 or more; a third of them elsewhere."""


class Item(NamedTuple):
    """One place in a reader's order; positions count from 0 and practice comes first."""

    part: str
    position: int
    image: str
    practice: bool


def order_for(study: Study, reader: int, part: str) -> list[Item]:
    """Return the order of a part for a reader.

    Practice comes first, in random order. An image comes before its repeat, with at least
    ``min(20, n // 3)`` others between (one at least).

    Raises
    ------
    KeyError
        When the study has no such part.
    """
    study.protocol.part(part)
    rows = sorted((row for row in study.truth().values() if row.part == part), key=lambda row: row.image)
    chance = generator_for(study.seed, "order", reader, part)
    practice = [row.image for row in rows if row.practice]
    counted = [row for row in rows if not row.practice]
    images = [practice[i] for i in chance.permutation(len(practice))] + _spread(counted, chance)
    return [Item(part, number, image, number < len(practice)) for number, image in enumerate(images)]


def _spread(rows: Sequence[Truth], chance: np.random.Generator) -> list[str]:
    """Shuffle, then put each repeat somewhere after its image."""
    repeats = [row for row in rows if row.repeat_of]
    originals = [row.image for row in rows if not row.repeat_of]
    n = len(originals)
    between = max(1, min(MOST_BETWEEN, n // 3))
    repeated = sorted({row.repeat_of for row in repeats})
    others = [image for image in originals if image not in set(repeated)]
    # An image that comes again must leave room behind it.
    early = max(n - between, len(repeated))
    places = set(chance.permutation(early)[: len(repeated)].tolist())
    first = iter([repeated[i] for i in chance.permutation(len(repeated))])
    rest = iter([others[i] for i in chance.permutation(len(others))])
    order = [next(first) if place in places else next(rest) for place in range(n)]
    for number in chance.permutation(len(repeats)):
        row = repeats[number]
        earliest = order.index(row.repeat_of) + between + 1
        order.insert(int(chance.integers(min(earliest, len(order)), len(order) + 1)), row.image)
    return order
