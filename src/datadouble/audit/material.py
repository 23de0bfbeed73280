"""What an audit measures: both cohorts as features and as pixels, by role, each read once and kept."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from datadouble.audit.features import extract_features, load_extractor, standardise
from datadouble.audit.features.base import Extractor, Features
from datadouble.audit.pictures import Pictures, read_pictures
from datadouble.audit.roles import Roles, choose_roles
from datadouble.errors import DataDoubleError

if TYPE_CHECKING:
    from datadouble.cohort.cohort import Cohort

Side = TypeVar("Side", Features, Pictures)

PIXELS = 256  # side for the measurements on pixels, where the double's pictures differ in size


class AuditMaterial:
    """Both cohorts of an audit.

    Parameters
    ----------
    double, real : Cohort
    reference : str
        See :func:`datadouble.audit.roles.choose_roles`.
    extractor : str or Extractor
        The first extractor: distances, neighbours and membership.
    precision : str
        Of the arithmetic of extractors that are given by name.
    at_size : int
        Side to which both are brought before anything else; 0: features from the pictures as they are.
    cache : Path
        Folder for features and pixels.
    processes : int
        Shards of the feature extraction.
    seed : int

    Raises
    ------
    DataDoubleError
        Where the extractor cannot be loaded.
    """

    def __init__(
        self,
        double: Cohort,
        real: Cohort,
        *,
        reference: str,
        extractor: str | Extractor,
        precision: str,
        at_size: int,
        cache: Path,
        processes: int,
        seed: int,
    ) -> None:
        self.double, self.real, self.cache, self.seed = double, real, cache, seed
        self.at_size = at_size
        self.pixels = at_size or PIXELS
        self.roles: Roles = choose_roles(real, reference)
        self._precision, self._processes = precision, processes
        self.extractor = self.load(extractor)
        self._splits = np.array([str(split) for split in real.table["split"]])

    def features_of(self, pictures: Cohort | Pictures, extractor: str | Extractor | None = None) -> Features:
        """Features of a cohort, or of its pixels, by the first extractor or by another, fit to be compared.

        Columns of different units are brought to one scale by the real cohort: by all of it, so that train and
        unseen patients stay on an equal footing.
        """
        loaded = self.load(self.extractor if extractor is None else extractor)

        def extracted(of: Cohort | Pictures) -> Features:
            return extract_features(
                of,
                loaded,
                cache_dir=self.cache / "features",
                processes=self._processes,
                at_size=self.at_size,
            )

        found = extracted(pictures)
        if not getattr(loaded, "mixed_units", False):
            return found
        return standardise(found, found if pictures is self.real else extracted(self.real))

    def load(self, extractor: str | Extractor) -> Extractor:
        """The extractor of that name, in the audit's precision; one that is given as such passes unchanged."""
        if not isinstance(extractor, str):
            return extractor
        return load_extractor(extractor, precision=self._precision)

    @cached_property
    def double_features(self) -> Features:
        """Of the double, by the first extractor."""
        return self.features_of(self.double)

    @cached_property
    def real_features(self) -> Features:
        """Of the whole real cohort, by the first extractor."""
        return self.features_of(self.real)

    @cached_property
    def double_pictures(self) -> Pictures:
        """Pixels of the double."""
        return read_pictures(self.double, self.pixels, cache_dir=self.cache / "pictures")

    @cached_property
    def real_pictures(self) -> Pictures:
        """Pixels of the whole real cohort."""
        return read_pictures(self.real, self.pixels, cache_dir=self.cache / "pictures")

    def reference(self, of: Side) -> Side:
        """The real pictures that the double is compared with.

        Raises
        ------
        DataDoubleError
            Where none of them can be read.
        """
        part = self._part(of, self.roles.reference)
        if len(part) == 0:
            raise DataDoubleError(
                "no readable picture in the reference",
                where=self.real.path.name,
                found=f"split {', '.join(self.roles.reference)}",
                remedy="run `datadouble check` on the cohort",
            )
        return part

    def counterpart(self, of: Side) -> Side | None:
        """The other side of the real-against-real floor; None: the reference is halved."""
        return self._part(of, (self.roles.counterpart,)) if self.roles.counterpart else None

    def train(self, of: Side) -> Side:
        """What the generator learned from; everything where the cohort has no splits."""
        return self._part(of, (self.roles.gallery,) if self.roles.gallery else ())

    def holdout(self, of: Side) -> Side | None:
        """Real pictures that the generator never saw, the control of every attack; None without any."""
        part = self._part(of, self.roles.control) if self.roles.control else None
        return part if part is not None and len(part) else None

    def test(self, of: Side) -> Side | None:
        """The patients that judge usefulness; None without a test split."""
        part = self._part(of, ("test",)) if "test" in self._splits else None
        return part if part is not None and len(part) else None

    def split_groups(self, of: Features | Pictures) -> np.ndarray:
        """What was dealt to a split as one, for each row: patients joined by their look-alike groups (int)."""
        return self._units[of.rows]

    @cached_property
    def _units(self) -> np.ndarray:
        from datadouble.cohort.split import units_of

        units = np.zeros(len(self.real), dtype=np.int64)
        for number, rows in enumerate(units_of(self.real.table)):
            units[rows] = number
        return units

    def unreadable(self) -> list[tuple[str, str]]:
        """Pictures that could not be read, and why."""
        found = [(f"double: {name}", reason) for name, reason in self.double_features.broken]
        return found + [(f"real: {name}", reason) for name, reason in self.real_features.broken]

    def _part(self, of: Side, splits: tuple[str, ...]) -> Side:
        return of.where(np.isin(self._splits[of.rows], splits)) if splits else of
