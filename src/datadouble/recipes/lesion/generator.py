"""Drawing a double through all stages: healthy scan, lesion, place, composite, repair, verification."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from datadouble import files
from datadouble.cohort.sheets import outlined, picture_sheet
from datadouble.errors import DataDoubleError
from datadouble.randomness import generator_for, seed_for
from datadouble.recipes.doubles import Drawn, GeneratorFacts, Limit
from datadouble.recipes.lesion.backgrounds import Backgrounds
from datadouble.recipes.lesion.blending import Composite, Placement, blend
from datadouble.recipes.lesion.config import LesionConfig
from datadouble.recipes.lesion.crops import LesionPatch
from datadouble.recipes.lesion.descriptors import Descriptor, DescriptorBank
from datadouble.recipes.lesion.lesion_drawer import is_usable
from datadouble.recipes.lesion.placement_stage import Placer
from datadouble.recipes.lesion.repair_stage import Repairer
from datadouble.recipes.lesion.room import NoRoom
from datadouble.recipes.lesion.run_facts import RunFacts
from datadouble.recipes.lesion.verify import Checker
from datadouble.recipes.runs import software

PATCH_FILTER: dict[str, Any] = {
    "name": "patch",
    "meaning": "1 where stage lesion drew no lesion, or one that its patch cuts off",
    "cut": 0.0,
}
ROOM_FILTER: dict[str, Any] = {
    "name": "room",
    "meaning": "1 where the lesions that were drawn find no room in the healthy scan",
    "cut": 0.0,
}
REPEAT_FILTER: dict[str, Any] = {
    "name": "repeat",
    "meaning": "1 where a healthy scan without a lesion would be shown a second time",
    "cut": 0.0,
}
_DESCRIPTORS = 8  # drawn before a healthy scan counts as having no room


@dataclass(frozen=True)
class Staged:
    """One picture through the stages; `placement` and `composite` are None where nothing could be made."""

    healthy: np.ndarray
    descriptor: Descriptor
    placement: Placement | None
    patch: LesionPatch
    composite: Composite | None
    image: np.ndarray
    mask: np.ndarray
    background: int


class Drawer(Protocol):
    """Stage 1: draws patches for descriptors."""

    bank: DescriptorBank
    fingerprint: str

    def draw(
        self, labels: np.ndarray, descriptors: Sequence[Descriptor], seeds: Sequence[int]
    ) -> list[LesionPatch]:
        """Draw a patch for each descriptor; see `LesionDrawer.draw`."""


class LesionGenerator:
    """Draws pictures with lesions; each follows from (run, backgrounds, seed, class, number).

    Attributes
    ----------
    facts : GeneratorFacts
    """

    def __init__(
        self,
        config: LesionConfig,
        run_facts: RunFacts,
        backgrounds: Backgrounds,
        drawer: Drawer,
        placer: Placer | None,
        repairer: Repairer | None,
        checker: Checker | None,
        *,
        skipped: Sequence[str] = (),
    ) -> None:
        self._config, self._run_facts, self._backgrounds = config, run_facts, backgrounds
        self._drawer, self._placer, self._repairer, self._checker = drawer, placer, repairer, checker
        # On real scans the healthy class would be copies of patients' pictures.
        offered = {run_facts.healthy} if backgrounds.synthetic else set()
        offered |= set(run_facts.classes)
        classes = tuple(name for name in run_facts.cohort_classes if name in offered)
        share = dict(zip((run_facts.healthy, *run_facts.classes), run_facts.shares, strict=True))
        repeat = (REPEAT_FILTER,) if backgrounds.synthetic else ()
        filters = (PATCH_FILTER, ROOM_FILTER, *repeat, *(checker.facts() if checker is not None else ()))
        sampling = asdict(config.sampling)
        self.facts = GeneratorFacts(
            name=run_facts.name,
            modality=run_facts.modality,
            classes=classes,
            shares=tuple(share[name] for name in classes),
            batch=config.sampling.batch,
            intensity=run_facts.intensity,
            mask_classes=run_facts.mask_classes,
            contains_real_pixels=not backgrounds.synthetic,
            filters=filters,
            limits={run_facts.healthy: _shown_once(len(backgrounds))},
            fingerprint=json.loads(
                json.dumps(
                    {
                        "recipe": "lesion",
                        "lesion": drawer.fingerprint,
                        "placement": placer.fingerprint if placer is not None else "none",
                        "repair": repairer.fingerprint if repairer is not None else "none",
                        "verify": checker.fingerprint if checker is not None else "none",
                        "skipped": sorted(skipped),
                        "backgrounds": backgrounds.fingerprint,
                        "backgrounds_origin": "synthetic" if backgrounds.synthetic else "real",
                        "blend": asdict(config.blend),
                        **sampling,
                        "software": software(),
                    }
                )
            ),
        )

    def draw(self, label: int, numbers: range, seed: int) -> Drawn:
        """Draw the pictures `numbers` of a class with their lesion masks, uint8 (b, s, s), and verify them."""
        name = self.facts.classes[label]
        if name == self._run_facts.healthy:
            return self._pass_through(label, numbers, seed)
        staged = self.draw_stages(label, numbers, seed)
        images = np.stack([one.image for one in staged])
        masks = np.stack([one.mask for one in staged])
        rejected = self._nothing_rejected(len(staged))
        rejected["patch"] = np.array([not is_usable(one.patch) for one in staged])
        composed = np.array([one.composite is not None for one in staged])
        rejected["room"] = ~composed & ~rejected["patch"]
        if self._checker is not None:
            found = self._checker.check(images, masks, [name] * len(staged))
            # What was never composed has failed before.
            rejected |= {key: value & composed for key, value in found.items()}
        value = self._run_facts.mask_ids[self._run_facts.classes.index(name)]
        return Drawn(
            images,
            masks.astype(np.uint8) * np.uint8(value),
            rejected=rejected,
            patients=self._patients([one.background for one in staged]),
            columns=self._columns([one.background for one in staged]),
        )

    def draw_stages(self, label: int, numbers: range, seed: int) -> list[Staged]:
        """Draw the pictures `numbers` of a lesion class, and return what each stage made of them."""
        name = self.facts.classes[label]
        index = self._run_facts.classes.index(name)
        chosen = [self._background(index, number, seed) for number in numbers]
        scans = [self._backgrounds.images[one] for one in chosen]
        placed = [
            self._place(scan, name, index, number, seed) for scan, number in zip(scans, numbers, strict=True)
        ]
        patches = self._drawer.draw(
            np.full(len(scans), index),
            [descriptor for descriptor, _ in placed],
            [seed_for(seed, "lesion", name, number) for number in numbers],
        )
        composites = [
            self._compose(scan, patch, *where, generator_for(seed, "blend", name, number))
            for scan, patch, where, number in zip(scans, patches, placed, numbers, strict=True)
        ]
        images = self._repair(composites, scans, index, name, numbers, seed)
        empty = np.zeros(scans[0].shape, dtype=bool)
        return [
            Staged(
                scan,
                where[0],
                where[1],
                patch,
                composite,
                image,
                empty if composite is None else composite.mask,
                back,
            )
            for scan, where, patch, composite, image, back in zip(
                scans, placed, patches, composites, images, chosen, strict=True
            )
        ]

    def _background(self, index: int, number: int, seed: int) -> int:
        """Return the scan of a picture: lesion classes take turns, so that equal counts use scans equally often."""
        return self._backgrounds.choose(number * len(self._run_facts.classes) + index, seed)

    def _place(
        self, scan: np.ndarray, name: str, index: int, number: int, seed: int
    ) -> tuple[Descriptor, Placement | None]:
        """Draw a descriptor and a place for it, and return the descriptor of the lesion at that place.

        One that finds no room in the scan is drawn again: what is kept are the class's lesions that fit.
        """
        random = generator_for(seed, "descriptor", name, number)
        place_random = generator_for(seed, "placement", name, number)
        placement = None
        for _ in range(_DESCRIPTORS):
            descriptor = self._drawer.bank.sample(name, random)
            if self._placer is None:
                placement = Placement(descriptor.row, descriptor.column, descriptor.size, descriptor.angle)
                break
            try:
                placement = self._placer.sample(scan, index, descriptor, place_random)
                break
            except NoRoom:
                continue
        if placement is None:
            return descriptor, None
        at_place = descriptor._replace(
            row=placement.row, column=placement.column, size=placement.size, angle=placement.angle
        )
        return at_place, placement

    def _compose(
        self,
        scan: np.ndarray,
        patch: LesionPatch,
        descriptor: Descriptor,
        placement: Placement | None,
        random: np.random.Generator,
    ) -> Composite | None:
        """Return the composite; None where the patch holds no lesion, or the scan has no room for it."""
        if placement is None or not is_usable(patch):
            return None
        try:
            return blend(scan, patch, placement, descriptor, self._config.blend, random)
        except NoRoom:
            return None

    def _repair(
        self,
        composites: list[Composite | None],
        scans: list[np.ndarray],
        index: int,
        name: str,
        numbers: range,
        seed: int,
    ) -> list[np.ndarray]:
        """Return the final pictures: repaired where there is a repairer and a composite."""
        images = [
            scan if composite is None else composite.image
            for scan, composite in zip(scans, composites, strict=True)
        ]
        places = [i for i, composite in enumerate(composites) if composite is not None]
        if self._repairer is None or not places:
            return images
        repaired = self._repairer.repair(
            [one for one in composites if one is not None],
            [scans[i] for i in places],
            [index] * len(places),
            [seed_for(seed, "repair", name, numbers[i]) for i in places],
        )
        for i, one in zip(places, repaired, strict=True):
            images[i] = one.image
        return images

    def _pass_through(self, label: int, numbers: range, seed: int) -> Drawn:
        """Return synthetic healthy scans as they are, each once."""
        count = len(self._backgrounds)
        if numbers.start >= count:
            name, limit = self.facts.classes[label], _shown_once(count)
            raise DataDoubleError(limit.why, where=f"class {name}", remedy=limit.remedy)
        order = generator_for(seed, "healthy scans").permutation(count)
        chosen = [int(order[number % count]) for number in numbers]
        images = self._backgrounds.images[chosen]
        rejected = self._nothing_rejected(len(images))
        rejected["repeat"] = np.array([number >= count for number in numbers])
        masks = np.zeros(images.shape, dtype=np.uint8)
        return Drawn(
            images, masks, rejected=rejected, patients=self._patients(chosen), columns=self._columns(chosen)
        )

    def _nothing_rejected(self, count: int) -> dict[str, np.ndarray]:
        return {str(one["name"]): np.zeros(count, dtype=bool) for one in self.facts.filters}

    def _patients(self, chosen: Sequence[int]) -> tuple[str, ...]:
        """Return invented patients: pictures on one patient's scans are no strangers to each other."""
        return tuple(f"scan-{self._backgrounds.people[one]:05d}" for one in chosen)

    def _columns(self, chosen: Sequence[int]) -> tuple[dict[str, str], ...] | None:
        """Return the ids of synthetic scans; a real one's would tie the double to a patient."""
        if not self._backgrounds.synthetic:
            return None
        return tuple({"background_id": self._backgrounds.ids[one]} for one in chosen)

    def draw_sheet(self, path: Path, *, columns: int = 6, seed: int = 0) -> None:
        """Write a sheet of the stages side by side: for each lesion class a column a picture, a row a stage."""
        rows: list[tuple[str, list[np.ndarray]]] = []
        for label, name in enumerate(self.facts.classes):
            if name == self._run_facts.healthy:
                continue
            staged = self.draw_stages(label, range(columns), seed)
            rows += [
                (f"{name}: healthy scan", [_grey(one.healthy) for one in staged]),
                ("lesion", [outlined(one.patch.image, one.patch.mask.astype(np.uint8)) for one in staged]),
                (
                    "composite",
                    [_grey(one.healthy if one.composite is None else one.composite.image) for one in staged],
                ),
                ("repaired", [_grey(one.image) for one in staged]),
                ("with its mask", [outlined(one.image, one.mask.astype(np.uint8)) for one in staged]),
            ]
        path.parent.mkdir(parents=True, exist_ok=True)
        files.save_png(path, picture_sheet(rows, colour=True))


def _shown_once(count: int) -> Limit:
    return Limit(
        count,
        f"there are {count} healthy scans, and a double shows each without a lesion once at most",
        "ask for fewer pictures, or give --backgrounds with more healthy scans",
    )


def _grey(image: np.ndarray) -> np.ndarray:
    return np.repeat(image[..., None], 3, axis=2)
