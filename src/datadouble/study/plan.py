"""Planning a study: its size and window, its images with their random names, and what must be said about them."""

import dataclasses
import secrets
from datetime import UTC, datetime
from typing import Any

import numpy as np

from datadouble.cohort import Cohort
from datadouble.errors import DataDoubleError
from datadouble.progress import track
from datadouble.randomness import generator_for, seed_for
from datadouble.study.faults import ORIGINS
from datadouble.study.pictures import check_lesion_view, common_window, lesion_box
from datadouble.study.protocol import Part, Protocol
from datadouble.study.sampling import Pool, classes_for, make_pool, quotas
from datadouble.study.study import Truth

NOT_HIDDEN = (
    "All images have one size, window, encoding, number of bytes and file time, and random names. Not hidden is what "
    "the pixels themselves hold: traces of the scanner's compression, of resampling and of noise, words and rulers "
    "burned in, empty grey levels. Look at some images of both origins, enlarged, before readers do."
)


def make_plan(
    protocol: Protocol, cohorts: dict[str, Cohort], seed: int
) -> tuple[dict[str, Any], list[Truth]]:
    """Return the facts of a study (size, window, warnings, created) and what stands behind each of its images.

    Parameters
    ----------
    cohorts
        By origin.

    Raises
    ------
    DataDoubleError
        When the cohorts do not suit the protocol or each other.
    """
    real, double = cohorts["real"], cohorts["synthetic"]
    window = common_window(real, double, protocol.window)
    stored = double.image(0).shape
    size = protocol.size or min(2048, max(stored[:2]))
    pools = _pools(protocol, cohorts, size)
    warnings = [NOT_HIDDEN, *_size_warnings(real, stored, size), *_window_warnings(real, double)]
    if not real.has_splits:
        warnings.append(
            "The real cohort was never split: readers may be shown scans that the generator learnt from."
        )
    planner = _Planner(protocol, pools, seed, warnings)
    truth = planner.plan()
    plan = {
        "size": size,
        "window": list(window),
        "warnings": warnings,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return plan, truth


def _pools(protocol: Protocol, cohorts: dict[str, Cohort], size: int) -> dict[str, Pool]:
    usable: dict[str, list[int] | None] = dict.fromkeys(ORIGINS)
    if any(part.view == "lesion" for part in protocol.parts):
        for origin, name in zip(ORIGINS, ("real cohort", "double"), strict=True):
            cohort = cohorts[origin]
            check_lesion_view(cohort, name)
            rows = track(range(len(cohort)), f"lesions, {name}", len(cohort))
            usable[origin] = [row for row in rows if lesion_box(cohort, row, size) is not None]
    return {
        origin: make_pool(cohorts[origin], splits=protocol.splits, usable=usable[origin])
        for origin in ORIGINS
    }


def _size_warnings(real: Cohort, stored: tuple[int, ...], size: int) -> list[str]:
    """Say what resampling may show, judged by a few pictures."""
    warnings = []
    shapes = [real.image(int(row)).shape[:2] for row in np.linspace(0, len(real) - 1, min(8, len(real)))]
    if any(min(shape) < size for shape in shapes):
        warnings.append(
            f"Some real scans are smaller than {size} pixels and are enlarged: they look softer than the double."
        )
    elif any(shape != tuple(stored[:2]) for shape in shapes):
        warnings.append(
            f"Real scans are brought to {size} x {size} pixels, as in training; the double is drawn at "
            "that size. Resampling smooths noise."
        )
    if min(stored[:2]) != max(stored[:2]) or size != stored[0]:
        warnings.append(f"The double is resampled from {stored[1]} x {stored[0]} to {size} x {size} pixels.")
    return warnings


def _window_warnings(real: Cohort, double: Cohort) -> list[str]:
    depths = {str(cohort.image(0).dtype) for cohort in (real, double)}
    if real.info.intensity != double.info.intensity or len(depths) > 1:
        return [
            "The cohorts store grey levels in different ways (window or depth): one may show steps in its histogram "
            "that the other lacks."
        ]
    return []


class _Planner:
    """Draws the images of each part and gives them names."""

    def __init__(self, protocol: Protocol, pools: dict[str, Pool], seed: int, warnings: list[str]) -> None:
        self.protocol, self.pools, self.seed, self.warnings = protocol, pools, seed, warnings
        self._names: set[str] = set()
        self._pairs: dict[tuple[str, int], str] = {}
        self._patients: dict[tuple[str, str], str] = {}

    def plan(self) -> list[Truth]:
        drawn: dict[str, list[tuple[str, int]]] = {}
        truth: list[Truth] = []
        for part in self.protocol.parts:  # before practice is drawn: what counts has the first choice
            drawn[part.name] = drawn[part.images_of] if part.images_of else self._draw(part)
        for part in self.protocol.parts:
            own = [self._row(part, *which) for which in drawn[part.name]]
            practice = [self._row(part, *which, practice=True) for which in self._practice(part)]
            truth += own + practice + self._repeats(part, own)
        return sorted(truth, key=lambda row: row.image)

    def _draw(self, part: Part) -> list[tuple[str, int]]:
        wanted = {"real": part.real, "synthetic": part.synthetic}
        groups = classes_for(self.protocol, part, self.pools)
        asked = [origin for origin in ORIGINS if wanted[origin]]
        capacity = {
            name: min(len(self.pools[origin].free(name)) for origin in asked)
            for group in groups
            for name in group
        }
        seed = seed_for(self.seed, "quota", part.name)
        chosen = []
        for origin in asked:
            shares = quotas(groups, wanted[origin], capacity, per_class=part.per_class, seed=seed)
            total = wanted[origin] * (len(shares) if part.per_class else 1)
            if sum(shares.values()) < total and not (part.per_class and all(shares.values())):
                self._too_few(part, origin, total, groups)
            self._say_shares(part, origin, shares, groups, total)
            for name, count in shares.items():
                chosen += [
                    (origin, row)
                    for row in self.pools[origin].draw(name, count, self.seed, part.name, origin)
                ]
        self._say_patients(part, chosen)
        return chosen

    def _too_few(self, part: Part, origin: str, total: int, groups: list[list[str]]) -> None:
        have = "; ".join(
            f"{o}: " + ", ".join(f"{len(self.pools[o].free(n))} of {n}" for group in groups for n in group)
            for o in ORIGINS
            if getattr(part, o)
        )
        raise DataDoubleError(
            f"there are too few images for {total} {origin} ones",
            where=f"part {part.name}",
            found=have,
            remedy="ask for fewer (--real, --synthetic), draw more with `datadouble generate`, or allow other splits",
        )

    def _say_shares(
        self, part: Part, origin: str, shares: dict[str, int], groups: list[list[str]], total: int
    ) -> None:
        sums = [sum(shares[name] for name in group) for group in groups]
        if max(sums) - min(sums) > 1 or sum(sums) < total:
            text = ", ".join(f"{count} of {name}" for name, count in shares.items())
            self.warnings.append(
                f"Part {part.name}, {origin}: equal shares were not to be had, the classes have {text}."
            )

    def _say_patients(self, part: Part, chosen: list[tuple[str, int]]) -> None:
        real = [row for origin, row in chosen if origin == "real"]
        pool = self.pools["real"]
        trained = sum(row in pool.spare for row in real)
        if trained:
            self.warnings.append(
                f"Part {part.name}: test and holdout have too few scans, so {trained} of {len(real)} real images are "
                "from train: the generator learnt from them. Ask for fewer images, or split with more in holdout."
            )
        units = [pool.unit_of[row] for row in real]
        again = len(units) - len(set(units))
        if again:
            self.warnings.append(
                f"Part {part.name}: {len(real)} real images are of {len(set(units))} patients or look-alike groups; "
                f"intervals that take images as independent are too narrow."
            )

    def _practice(self, part: Part) -> list[tuple[str, int]]:
        """Draw practice cases, as many of each origin as the part's own shares say, from what is left."""
        if not part.practice:
            return []
        source = self.protocol.part(part.images_of) if part.images_of else part
        synthetic = (
            (part.practice // 2) if source.real and source.synthetic else (part.practice * (source.real == 0))
        )
        counts = {"real": part.practice - synthetic, "synthetic": synthetic}
        groups = classes_for(self.protocol, source, self.pools)
        chosen = []
        for origin in ORIGINS:
            capacity = {name: len(self.pools[origin].free(name)) for group in groups for name in group}
            if sum(capacity.values()) < counts[origin]:
                raise DataDoubleError(
                    f"there are too few images left for {counts[origin]} {origin} practice cases",
                    where=f"part {part.name}",
                    found=str(sum(capacity.values())),
                    remedy="ask for fewer images (--real, --synthetic) or fewer practice cases (--practice)",
                )
            seed = seed_for(self.seed, "practice", part.name)
            shares = quotas(groups, counts[origin], capacity, per_class=False, seed=seed)
            for name, count in shares.items():
                rows = self.pools[origin].draw(name, count, self.seed, part.name, origin, "practice")
                chosen += [(origin, row) for row in rows]
        return chosen

    def _repeats(self, part: Part, own: list[Truth]) -> list[Truth]:
        """Repeat a share of each origin's images under other names."""
        chance = generator_for(self.seed, "repeats", part.name)
        repeats = []
        for origin in ORIGINS:
            rows = sorted(
                (row for row in own if row.origin == origin), key=lambda row: (row.label, row.source_image_id)
            )
            count = round(part.repeats_share * len(rows))
            picked = sorted(chance.permutation(len(rows))[:count].tolist())
            repeats += [
                dataclasses.replace(rows[i], image=self._name(), repeat_of=rows[i].image) for i in picked
            ]
        return repeats

    def _row(self, part: Part, origin: str, row: int, *, practice: bool = False) -> Truth:
        pool = self.pools[origin]
        entry = pool.cohort.table.iloc[row]
        patient = self._patients.setdefault((origin, pool.unit_of[row]), secrets.token_hex(4))
        pair = self._pairs.setdefault((origin, row), secrets.token_hex(4))
        return Truth(
            image=self._name(),
            part=part.name,
            origin=origin,
            label=str(entry["label"]),
            practice=practice,
            repeat_of="",
            pair=pair,
            cohort=pool.cohort.info.name,
            source_image_id=str(entry["image_id"]),
            patient=patient,
            split=str(entry["split"]),
        )

    def _name(self) -> str:
        while (name := secrets.token_hex(8)) in self._names:
            pass
        self._names.add(name)
        return name
