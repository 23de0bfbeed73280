"""Encoders: pictures to latents and back, all behind one interface.

| name      | channels | what                                                                   |
|-----------|----------|------------------------------------------------------------------------|
| `tiny-4`  | 4        | ours, shipped in the package; see ``weights/MODEL_CARD.md``            |
| `tiny-16` | 16       | the same with more channels: finer speckle                             |
| `own`     | 16       | ours, trained on the cohort's train split when the run begins          |
| `kl`      | 4        | the Stable Diffusion autoencoder, from a local folder or the hub       |
| `pixels`  | 1        | none                                                                   |
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from datadouble.errors import DataDoubleError, suggest

if TYPE_CHECKING:
    from datadouble.cohort import Cohort
    from datadouble.encoders.base import Encoder

ENCODERS = ("tiny-4", "tiny-16", "own", "kl", "pixels")


def load_encoder(name: str, path: str = "") -> "Encoder":
    """Return the encoder of that name.

    Parameters
    ----------
    path
        For `own` its weights file, for `kl` its folder or hub name.

    Raises
    ------
    DataDoubleError
        When there is none of that name, or its weights are missing.
    """
    from datadouble.encoders.base import Pixels
    from datadouble.encoders.kl import KL
    from datadouble.encoders.tiny import WEIGHTS, Tiny

    if name in ("tiny-4", "tiny-16"):
        return Tiny(name, WEIGHTS / f"{name}.safetensors")
    if name == "own":
        return Tiny(name, Path(path))
    if name == "kl":
        return KL(path)
    if name == "pixels":
        return Pixels()
    raise DataDoubleError(
        f"there is no encoder '{name}'", where="data.encoder", remedy=suggest(name, list(ENCODERS))
    )


def seen_images(cohort: "Cohort") -> set[str]:
    """Return the image ids of `cohort` that the shipped encoders were trained on.

    They count as training data of every generator that uses these encoders: `split` keeps them in train.
    Known by name for BUS-BRA, the only real pictures among them.
    """
    if "source_file" not in cohort.table.columns:
        return set()
    listed = json.loads((Path(__file__).parent / "weights" / "seen.json").read_text())
    seen = set(listed["busbra"])
    rows = zip(cohort.table["image_id"], cohort.table["source_file"], strict=True)
    return {str(image) for image, source in rows if Path(str(source)).stem in seen}
