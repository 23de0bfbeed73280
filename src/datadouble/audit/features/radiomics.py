"""Texture features with names: what a radiomics study would measure on the pictures, without any trained network."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from datadouble.audit.features import texture_measures as texture
from datadouble.audit.features.base import ExtractorSource
from datadouble.errors import DataDoubleError
from datadouble.files import fingerprint

VERSION = "1"  # raise it when any number changes: it stands for the weights in the fingerprint
DISTANCES = (1, 3)  # of co-occurring pixels
# Measures with a long upper tail enter as logarithms, so that no single column rules a distance.
_TAILS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "contrast": np.log1p,
    "long_run_emphasis": np.log1p,
    "high_grey_level_run_emphasis": np.log1p,
    "kurtosis": np.log1p,
    "energy": lambda x: np.log10(x + 1e-6),
}


class RadiomicsExtractor:
    """118 named texture features: first order, GLCM, GLRLM, Haar bands and local binary patterns.

    Attributes
    ----------
    names : tuple of str
        Column names, such as ``glcm_d1_90_correlation`` or ``haar_h2_log_energy``.
    mixed_units : bool
        True: see :func:`datadouble.audit.features.standardise`.

    Notes
    -----
    Whole pictures at 128x128, 32 grey levels over the whole scale. Directions stay apart, for in ultrasound down
    is depth; the two diagonals are averaged. Columns have different units: before a distance bring them to one
    scale with :func:`datadouble.audit.features.standardise`, by the real pictures. An audit does.
    """

    name, input_size, mixed_units = "radiomics", 128, True
    source: ExtractorSource | None = None

    def __init__(self, *, precision: str = "auto") -> None:
        if precision == "bf16":
            raise DataDoubleError(
                "radiomics has no bf16",
                where="precision",
                found=precision,
                remedy="leave the precision out: these features are computed in fp64 and kept in fp32",
            )
        self.preprocessing = (
            f"whole picture to {self.input_size}x{self.input_size}, bicubic with anti-aliasing; "
            f"{texture.LEVELS} grey levels; fp64"
        )
        self.names = tuple(self._columns(np.zeros((1, self.input_size, self.input_size))))
        self.dimension = len(self.names)
        self.fingerprint = fingerprint(self.name, VERSION, self.preprocessing, *self.names)

    def features(self, pictures: np.ndarray) -> np.ndarray:
        """See :class:`datadouble.audit.features.base.Extractor`; columns in the order of ``names``."""
        parts = [self._columns(pictures[start : start + 16]) for start in range(0, len(pictures), 16)]
        if not parts:
            return np.empty((0, self.dimension), np.float32)
        return np.concatenate([np.stack(list(part.values()), axis=1) for part in parts]).astype(np.float32)

    def logits(self, features: np.ndarray) -> None:
        """None: there is no classifier."""
        return None

    def _columns(self, pictures: np.ndarray) -> texture.Columns:
        grey = texture.quantise(pictures)
        columns: texture.Columns = {}

        def add(prefix: str, measures: texture.Columns) -> None:
            for measure, values in measures.items():
                tail = next((end for end in _TAILS if measure.endswith(end)), None)
                if tail is None:
                    columns[f"{prefix}_{measure}"] = values
                else:
                    named = measure.removesuffix(tail) + f"log_{tail}"
                    columns[f"{prefix}_{named}"] = _TAILS[tail](values)

        add("first_order", texture.first_order(pictures))
        for distance in DISTANCES:
            by_direction = {
                name: texture.cooccurrence(grey, (down * distance, right * distance))
                for name, (down, right) in texture.DIRECTIONS.items()
            }
            for name in ("0", "90"):
                add(f"glcm_d{distance}_{name}", texture.cooccurrence_measures(by_direction[name]))
            diagonals = (by_direction["45"] + by_direction["135"]) / 2
            add(f"glcm_d{distance}_diagonal", texture.cooccurrence_measures(diagonals))
        runs = {name: texture.run_length_measures(grey, name) for name in texture.DIRECTIONS}
        for name in ("0", "90"):
            add(f"glrlm_{name}", runs[name])
        add("glrlm_diagonal", {key: (runs["45"][key] + runs["135"][key]) / 2 for key in runs["45"]})
        add("haar", texture.haar_measures(pictures))
        for radius in (1, 2):
            add(f"lbp_r{radius}", texture.binary_pattern_measures(pictures, radius))
        return columns
