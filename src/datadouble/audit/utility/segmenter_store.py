"""Trained segmenters on disk, so that what scores them and what attacks them meet the same networks.

A private network must be kept: trained again from another secret it is another network, and both together spend more
privacy than either says.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from datadouble import files
from datadouble.audit.parts import source_fingerprint
from datadouble.audit.utility.runs import digest
from datadouble.audit.utility.segmenter_data import Cases
from datadouble.audit.utility.segmenter_settings import SegmenterSettings
from datadouble.errors import DataDoubleError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from datadouble.audit.utility.segmenters import Segmenter
    from datadouble.training.privacy.options import PrivacyOptions, PrivacyPlan

# What a trained network depends on besides its pictures and settings.
CODE = (
    *(
        f"audit/utility/segmenter{name}.py"
        for name in ("s", "_augment", "_inputs", "_losses", "_scores", "_steps")
    ),
    "audit/utility/mask_classes.py",
    "audit/utility/sliding.py",
    *(f"networks/{name}.py" for name in ("dynunet", "nnunet_plan", "segmentation", "transunet")),
)
PRIVATE_CODE = ("audit/utility/segmenter_privacy.py", "training/privacy")


def network_key(
    cases: Cases,
    classes: int,
    settings: SegmenterSettings,
    seed: int,
    *,
    upright: bool = True,
    privacy: PrivacyOptions | None = None,
    records: np.ndarray | None = None,
) -> str:
    """16 digits that stand for all that a training depends on, its privacy included."""
    private: tuple[str, ...] = ()
    if privacy is not None:
        private = (
            source_fingerprint(*PRIVATE_CODE),
            json.dumps(asdict(privacy), sort_keys=True),
            digest(np.asarray(cases.patients if records is None else records).astype(str)),
        )
    return files.fingerprint(
        source_fingerprint(*CODE),
        json.dumps(asdict(settings), sort_keys=True),
        cases.fingerprint,
        str((seed, classes, upright)),
        *private,
    )


def trained_segmenter(
    cases: Cases,
    classes: int,
    settings: SegmenterSettings,
    seed: int,
    *,
    upright: bool = True,
    privacy: PrivacyOptions | None = None,
    records: np.ndarray | None = None,
    secret: int | None = None,
    folder: Path | None = None,
    step_done: Callable[[], None] | None = None,
) -> Segmenter:
    """The segmenter that `folder` holds of this training, or one that is trained now and kept there.

    Parameters
    ----------
    settings : SegmenterSettings
        Of the kind that is wanted.
    privacy : PrivacyOptions, optional
        Train with differential privacy.
    records : ndarray, optional
        (n,) whose record each picture is; by default its patient. ``training.privacy.sampling.patients_of`` puts
        patients together who share a picture.
    secret : int, optional
        Of a private training, see `PrivateTraining`; by default 128 bits that nobody knows.
    folder : Path, optional
        None: train, and keep nothing. A network takes 4 bytes a parameter: 0.5 MB to 0.5 GB.

    Raises
    ------
    DataDoubleError
        As ``train_segmenter``, and where no noise reaches the epsilon.
    """
    from datadouble.audit.utility.segmenters import train_segmenter

    path = None
    if folder is not None:
        key = network_key(cases, classes, settings, seed, upright=upright, privacy=privacy, records=records)
        path = folder / "networks" / f"{settings.kind}-{key}.safetensors"
        kept = _kept(path, cases, classes, settings)
        if kept is not None:
            return kept
    segmenter = train_segmenter(
        settings.kind,
        cases.images,
        cases.masks,
        classes,
        settings,
        seed,
        spacings=cases.spacings,
        upright=upright,
        step_done=step_done,
        private=None if privacy is None else _private(cases, privacy, records, settings.steps, secret),
    )
    if path is not None:
        _keep(path, segmenter)
    return segmenter


def seconds_per_step(
    cases: Cases,
    classes: int,
    settings: SegmenterSettings,
    *,
    privacy: PrivacyOptions | None = None,
    records: np.ndarray | None = None,
) -> float:
    """Measure what a step of a training takes here: the median of three, nothing is kept."""
    times: list[float] = []
    trained_segmenter(
        cases,
        classes,
        replace(settings, steps=4),
        seed=0,
        privacy=privacy,
        records=records,
        step_done=lambda: times.append(time.perf_counter()),
    )
    return float(np.median(np.diff(times)))


def is_kept(folder: Path | None, kind: str, key: str) -> bool:
    """Whether `folder` holds the network of a `network_key`."""
    return folder is not None and (folder / "networks" / f"{kind}-{key}.safetensors").is_file()


def private_plan(
    cases: Cases, privacy: PrivacyOptions, records: np.ndarray | None, steps: int
) -> PrivacyPlan:
    """What a private training of so many steps will spend."""
    from datadouble.training.privacy.supervised import supervised_plan

    return supervised_plan(privacy, steps, cases.patients if records is None else records)


def _private(
    cases: Cases, privacy: PrivacyOptions, records: np.ndarray | None, steps: int, secret: int | None
) -> Any:
    from datadouble.audit.utility.segmenter_privacy import PrivateTraining

    patients = np.asarray(cases.patients if records is None else records)
    plan = private_plan(cases, privacy, patients, steps)
    return PrivateTraining(privacy, patients, secrets.randbits(128) if secret is None else secret, plan)


def _keep(path: Path, segmenter: Segmenter) -> None:
    from datadouble.networks.weights import save_tensors

    done = segmenter.privacy
    facts = {
        "levels": list(segmenter.levels),
        "privacy": None if done is None else [asdict(done.plan), done.gradient_error, done.share_clipped],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_tensors(path, _tensors(segmenter.network), facts)


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    """Weights and running statistics, each once: MONAI's DynUNet has most of its layers under two names."""
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def _kept(path: Path, cases: Cases, classes: int, settings: SegmenterSettings) -> Segmenter | None:
    from datadouble.audit.utility.segmenter_inputs import Levels
    from datadouble.audit.utility.segmenters import untrained_segmenter
    from datadouble.networks.weights import load_tensors
    from datadouble.training.privacy.options import PrivacyPlan
    from datadouble.training.privacy.supervised import PrivateSteps

    if not path.is_file():
        return None
    try:
        tensors, facts = load_tensors(path)
        levels, spent = Levels(*facts["levels"]), facts["privacy"]
        done = None if spent is None else PrivateSteps(PrivacyPlan(**spent[0]), spent[1], spent[2])
    except (DataDoubleError, KeyError, TypeError, ValueError):
        return None  # damaged: trained again
    segmenter = untrained_segmenter(
        settings,
        [np.shape(image) for image in cases.images],
        classes,
        levels,
        spacings=cases.spacings,
        private=done is not None,
    )
    wanted = _tensors(segmenter.network.eval())
    if wanted.keys() != tensors.keys():
        return None
    for name, own in wanted.items():
        own.data.copy_(tensors[name])
    segmenter.privacy = done
    return segmenter
