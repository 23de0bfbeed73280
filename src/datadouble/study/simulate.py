"""Simulated readers: they answer a study through the store, as people do, with an ability that is known.

The model is that of signal detection (Green and Swets, Signal Detection Theory and Psychophysics, 1966): an image whose
right answer is the positive one makes an impression N(d', ratio²), any other N(0, 1); the reader says "positive" above
a criterion at d' / 2 + bias. With equal variances the area under the ROC curve is Phi(d' / sqrt(2)).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from datadouble import files
from datadouble.errors import DataDoubleError
from datadouble.progress import track
from datadouble.randomness import generator_for
from datadouble.study.protocol import Question
from datadouble.study.records import Given, Shown
from datadouble.study.store import Store
from datadouble.study.study import Study, Truth

MARKER = "simulated.json"
"""In the study's `private` folder: the ids of readers who are scripts, so that no analysis takes them for people."""
SPREAD_OF_TIMES = 0.45  # standard deviation of the logarithm of an answer's time
STEEPNESS = 1.2  # how fast confidence grows with the distance from the criterion


@dataclass(frozen=True)
class SimulatedReader:
    """A reader whose ability is known.

    Parameters
    ----------
    dprime : float
        Distance of the means of the two kinds of images, in standard deviations of the negative kind; 0: guessing.
    by_part : mapping of str to float
        Another d' in a part.
    by_origin : mapping of str to float
        Another d' for images of an origin, for questions about the label.
    bias : float
        Criterion relative to the unbiased one: above 0 the reader says the positive answer more seldom.
    own_noise : float
        Share of the variance that is the reader's own and new at each look, in [0, 1]; the rest belongs to the image
        and is shared by all readers. It decides how readers agree with each other and with themselves.
    ratio : float
        Standard deviation of positive images over that of negative ones.
    seconds : float
        Median time of an answer.
    lapse : float
        Share of answers given without looking, in [0, 1].
    learning : float
        d' gained from the first to the last image of a part.
    answers : int or None
        Stop after so many answers, as a reader does who never finishes.
    """

    name: str
    dprime: float = 1.0
    by_part: Mapping[str, float] = field(default_factory=dict)
    by_origin: Mapping[str, float] = field(default_factory=dict)
    bias: float = 0.0
    own_noise: float = 0.5
    ratio: float = 1.0
    group: str = ""
    years: float | None = None
    seconds: float = 6.0
    lapse: float = 0.0
    learning: float = 0.0
    answers: int | None = None

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        for name in ("own_noise", "lapse"):
            if not 0 <= getattr(self, name) <= 1:
                raise DataDoubleError(
                    "a simulated reader's share must lie in 0..1", where=name, found=str(getattr(self, name))
                )
        if self.ratio <= 0 or self.seconds <= 0:
            raise DataDoubleError("a simulated reader's ratio and seconds must be positive", where=self.name)

    def ability(self, truth: Truth) -> float:
        """Return d' for the part and origin of an image."""
        return self.by_origin.get(truth.origin, self.by_part.get(truth.part, self.dprime))


class SimulatedClock:
    """A clock that goes as fast as it is told, so that weeks of washout pass at once."""

    def __init__(self, start: datetime = datetime(2030, 1, 7, 9, tzinfo=UTC)) -> None:
        self._now, self._seconds = start, 0.0

    def now(self) -> datetime:
        """Return the simulated date."""
        return self._now

    def monotonic(self) -> float:
        """Return simulated seconds."""
        return self._seconds

    def forward(self, seconds: float) -> None:
        """Let time pass."""
        self._seconds += seconds
        self._now += timedelta(seconds=seconds)


def simulate_answers(study: Path | str, readers: Sequence[SimulatedReader], *, seed: int = 0) -> int:
    """Let simulated readers answer all parts of a study, and return how many images were judged.

    Equal seeds give equal answers to equal pictures, whatever random names the study gave them. A reader who is known
    already goes on where they stopped.

    Raises
    ------
    DataDoubleError
        When there is no such study.
    """
    clock = SimulatedClock()
    with Store.open(study, clock=clock) as store:
        known = {reader.name: reader.id for reader in store.readers()}
        ids = {
            one.name: known.get(one.name) or store.add_reader(one.name, group=one.group, years=one.years).id
            for one in readers
        }
        mark_simulated(store.study.path, ids.values())
        return sum(
            _read_all(store, clock, ids[one.name], one, seed)
            for one in track(readers, "simulated readers", len(readers))
        )


def mark_simulated(study: Path, readers: Iterable[int]) -> None:
    """Note that readers, by id, are scripts: every analysis of the study then says so."""
    files.write_json(study / "private" / MARKER, sorted(simulated_readers(study) | set(readers)))


def simulated_readers(study: Path) -> set[int]:
    """Return the ids of a study's readers who are simulated."""
    path = study / "private" / MARKER
    return set(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else set()


def _read_all(store: Store, clock: SimulatedClock, reader: int, who: SimulatedReader, seed: int) -> int:
    study, done = store.study, 0
    truth = study.truth()
    store.resume(reader)
    totals = {part.part: part.total for part in store.progress(reader).parts}
    while who.answers is None or done < who.answers:
        shown = store.next_item(reader)
        if shown is None:
            opens = store.progress(reader).opens_at
            if opens is None:
                break
            clock.forward(max(60.0, (opens - clock.now()).total_seconds() + 60))
            continue
        seconds, answers = answer(study, truth[shown.image], shown, who, totals[shown.part], seed)
        clock.forward(seconds)
        store.record(reader, shown.shown_id, answers, client_seconds=seconds)
        done += 1
    store.pause(reader)
    return done


def answer(
    study: Study, truth: Truth, shown: Shown, who: SimulatedReader, total: int, seed: int
) -> tuple[float, dict[str, Given]]:
    """Return the seconds that a reader takes for an image, and the answers to all questions about it."""
    picture = (truth.origin, truth.source_image_id)
    look = (who.name, truth.part, *picture, int(bool(truth.repeat_of)))
    own = generator_for(seed, "look", *look)
    answers = {
        question.key: _given(question, truth, picture, shown.position / max(1, total - 1), who, own, seed)
        for question in study.protocol.questions_of(truth.part)
    }
    seconds = who.seconds * float(np.exp(SPREAD_OF_TIMES * own.standard_normal()))
    return round(seconds, 3), answers


def _given(
    question: Question,
    truth: Truth,
    picture: tuple[str, str],
    way: float,
    who: SimulatedReader,
    own: np.random.Generator,
    seed: int,
) -> Given:
    """The answer to one question, `way` from 0 to 1 through the part."""
    shared = float(generator_for(seed, "image", question.key, *picture).standard_normal())
    impression = np.sqrt(1 - who.own_noise) * shared + np.sqrt(who.own_noise) * own.standard_normal()
    dprime = who.ability(truth) + who.learning * way
    right = question.right_value(truth.origin, truth.label)
    values = [one.value for one in question.answers]
    chance = own.random(4)
    lapse = bool(chance[0] < who.lapse)
    if question.positive and question.negative:
        # A right answer exists for every image of such a question; without one it is as good as negative.
        signal = right == question.positive
        place = (dprime + who.ratio * impression if signal else impression) - (dprime / 2 + who.bias)
        if lapse:
            place = float(own.standard_normal())
        value = question.positive if place > 0 else question.negative
    else:
        knows = impression + dprime / np.sqrt(2) > 0 and not lapse
        value = right if knows and right else values[int(chance[1] * len(values))] if values else ""
        place = impression
    confidence = float(np.round(100 * np.tanh(STEEPNESS * abs(place) / 2))) if question.confidence else None
    mark = (round(float(chance[2]), 3), round(float(chance[3]), 3)) if question.mark else None
    return Given(value, confidence, mark)


def panel(
    *,
    juniors: int = 3,
    seniors: int = 3,
    dprime: tuple[float, float] = (0.3, 0.7),
    parts: Mapping[str, float] | None = None,
) -> list[SimulatedReader]:
    """Return a panel as in the papers: juniors and seniors, around a d' for each group.

    Parameters
    ----------
    dprime
        Of juniors and of seniors.
    parts
        What is added to d' in a part.
    """
    made = []
    for group, count, centre, years, seconds in (
        ("junior", juniors, dprime[0], 3.0, 7.0),
        ("senior", seniors, dprime[1], 14.0, 5.0),
    ):
        for number in range(count):
            off = number - (count - 1) / 2
            own = max(0.0, centre + 0.15 * off)
            made.append(
                SimulatedReader(
                    f"{group} {number + 1}",
                    dprime=own,
                    by_part={name: max(0.0, own + more) for name, more in (parts or {}).items()},
                    bias=0.25 * off,
                    group=group,
                    years=years + number,
                    seconds=seconds + off,
                    lapse=0.01,
                )
            )
    return made
