"""Fitting the filters of a run: the autoencoder on its train images, the cuts on real pictures.

Only the autoencoder learns, so its cut rests on the validation images, which it never saw; the cuts on masks rest
on both. Everything is kept in the run's folder; of the cuts a double carries a copy.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from datadouble import files
from datadouble.cohort import CohortInfo
from datadouble.cohort.structure import choose_rule, lesions_of
from datadouble.errors import DataDoubleError, suggest
from datadouble.networks.precision import has_fast_bf16
from datadouble.networks.unet_autoencoder import UNetAutoencoder, UNetAutoencoderConfig
from datadouble.networks.weights import load_tensors, save_tensors
from datadouble.recipes.filters import (
    Ambiguity,
    Anatomy,
    Candidates,
    Enclosure,
    Expected,
    Filter,
    FilterBank,
    Fragments,
    Presence,
    Reconstruction,
    Smoothness,
    Types,
)
from datadouble.training.pixels import PixelStore
from datadouble.training.reconstruction import AutoencoderOptions, prepare, train_reconstruction

USUAL = ("reconstruction", "presence", "types", "fragments", "ambiguity", "anatomy", "enclosure")
LEARNED = ("reconstruction", "smoothness")
BY_RULE = (
    "types",
    "fragments",
    "ambiguity",
    "anatomy",
    "enclosure",
)  # those that can do without any real picture
NAMES = (*USUAL, "smoothness")
LEAST_HELD_OUT = 10  # images; a quantile of fewer errors is none
WEIGHTS = "filter-autoencoder.safetensors"
_RARE = 0.01  # of a class's real pictures
_CHUNK = 64


@dataclass(frozen=True)
class FilterOptions:
    """Section ``[filters]``."""

    use: tuple[str, ...] = USUAL  # and smoothness; empty: no filter at all
    quantile: float = 0.99  # of the real scores; a cut is this, or the floor below where that is greater
    types: float = 0.05  # floor: share of pixels of another type
    fragments: float = 0.05  # floor: share of pixels outside the largest piece
    ambiguity: float = 0.02  # cut: share of ambiguous pixels; real masks have none
    outside: float = 0.05  # floor: share of pixels outside the structure, and of background round the lesion
    autoencoder_images: int = 8_000  # seen in its training
    autoencoder_size: int = 64
    autoencoder_widths: tuple[int, ...] = (32, 64, 128, 256)  # channels at 1/2, 1/4, ... of the size


def fit_filters(
    options: FilterOptions,
    train: PixelStore,
    train_labels: Sequence[str],
    validation: PixelStore | None,
    validation_labels: Sequence[str],
    *,
    info: CohortInfo,
    folder: Path,
    device: torch.device | str = "cpu",
    seed: int = 0,
    say: Callable[[str], None] = lambda _: None,
) -> FilterBank:
    """Fit the filters and keep them in `folder`, or load them where they were fitted on the same pictures before.

    Parameters
    ----------
    train, validation
        Of one size and structure. Without at least ten validation images there is no reconstruction filter.
    train_labels, validation_labels
        Class of each of their rows.
    info
        Of the cohort: modality and intensity say how anatomy is judged.
    folder
        Gets `filters.json` and the autoencoder; a training that was cut off goes on.

    Raises
    ------
    DataDoubleError
        On options out of range or an unknown filter.
    """
    _check(options)
    key = files.fingerprint(
        json.dumps(asdict(options)),
        str(seed),
        train.key,
        validation.key if validation else "-",
        *train_labels,
    )
    path = folder / "filters.json"
    if path.is_file() and json.loads(path.read_text()).get("key") == key:
        return load_filters(folder, device=device)
    folder.mkdir(parents=True, exist_ok=True)
    stores = [(train, train_labels)] + ([(validation, validation_labels)] if validation else [])
    expected = _expectations(stores, train.structure)
    picture_rule = _picture_rule(train.structure, info)
    kept: dict[str, Any] = {"key": key, "structure": train.structure, "picture_rule": picture_rule}
    kept |= {"intensity": info.intensity, "expected": {name: asdict(one) for name, one in expected.items()}}
    floors = _floors(options)
    cuts: dict[str, float] = {"ambiguity": floors["ambiguity"]}
    notes: dict[str, dict[str, Any]] = {"ambiguity": {"data_dependent": False}}
    left_out = {}
    for name in options.use:
        if name == "ambiguity":
            continue
        if name == "enclosure" and train.structure == "none":
            left_out[name] = "no structure is drawn"
            continue
        if name in LEARNED:
            held_out = 0 if validation is None else len(validation)
            if validation is None or held_out < LEAST_HELD_OUT:
                left_out[name] = f"{held_out} validation images, {LEAST_HELD_OUT} are needed"
                continue
            say("training the filters' autoencoder on the train images")
            _train_autoencoder(options, train, folder, key, device, seed)
        one = _build(name, kept, 0.0, folder, device)
        rests_on = [(validation, validation_labels)] if name in LEARNED and validation else stores
        scores = np.concatenate([_scores(one, store, labels) for store, labels in rests_on])
        quantile = float(np.quantile(scores, options.quantile, method="higher"))
        cuts[name] = floors[name] if name == "presence" else max(quantile, floors.get(name, -np.inf))
        notes[name] = {
            "data_dependent": True,
            "real_images": len(scores),
            "of": "validation" if name in LEARNED else "train and validation",
            "quantile": options.quantile,
            "real_share_dropped": round(float((scores > cuts[name]).mean()), 6),
        }
    kept |= {"cuts": {name: cuts[name] for name in options.use if name in cuts}, "notes": notes}
    for name, why in left_out.items():
        say(f"filter '{name}' is left out: {why}")
    files.write_json(path, kept | {"left_out": left_out})
    return load_filters(folder, device=device)


def check_rules(options: FilterOptions) -> None:
    """Refuse filters that rest on real pictures: what `keep_rules` cannot keep.

    Raises
    ------
    DataDoubleError
    """
    _check(options)
    resting = [name for name in options.use if name not in BY_RULE]
    if resting:
        kept = ",".join(f'"{name}"' for name in options.use if name in BY_RULE)
        raise DataDoubleError(
            "filters rest on the private pictures, which no budget covers",
            where="filters.use",
            found=", ".join(resting),
            remedy=f"keep those with fixed cuts: --set 'filters.use=[{kept}]'",
        )


def keep_rules(options: FilterOptions, structure: str, *, info: CohortInfo, folder: Path) -> FilterBank:
    """Keep in `folder` filters that no real picture has a part in, their cuts the options' own; return them.

    A lesion's type may be any, and `options.quantile` is not used.

    Parameters
    ----------
    structure
        Rule of the structure mask.

    Raises
    ------
    DataDoubleError
        On options out of range, or a filter that rests on pictures.
    """
    check_rules(options)
    left_out = {"enclosure": "no structure is drawn"} if structure == "none" else {}
    used = [name for name in options.use if name not in left_out]
    floors = _floors(options)
    folder.mkdir(parents=True, exist_ok=True)
    kept = {
        "key": files.fingerprint("rules", json.dumps(asdict(options)), structure),
        "structure": structure,
        "picture_rule": _picture_rule(structure, info),
        "intensity": info.intensity,
        "expected": {},
        "cuts": {name: floors[name] for name in used},
        "notes": {name: {"data_dependent": False} for name in used},
        "left_out": {name: why for name, why in left_out.items() if name in options.use},
    }
    files.write_json(folder / "filters.json", kept)
    return load_filters(folder)


def _floors(options: FilterOptions) -> dict[str, float]:
    return {
        "types": options.types,
        "fragments": options.fragments,
        "ambiguity": options.ambiguity,
        "anatomy": options.outside,
        "enclosure": options.outside,
        "presence": 0.0,
    }


def _picture_rule(structure: str, info: CohortInfo) -> str:
    """Return the rule that is asked of drawn pictures."""
    return structure if structure not in ("none", "file") else choose_rule(info)


def load_filters(folder: Path, *, device: torch.device | str = "cpu") -> FilterBank:
    """Load what `fit_filters` kept in `folder`; without anything there, no filters.

    Raises
    ------
    DataDoubleError
        When the autoencoder's weights are missing or damaged.
    """
    path = folder / "filters.json"
    if not path.is_file():
        return FilterBank()
    kept = json.loads(path.read_text())
    filters = tuple(_build(name, kept, cut, folder, device) for name, cut in kept["cuts"].items())
    return FilterBank(filters, {one.name: kept["notes"].get(one.name, {}) for one in filters})


def _check(options: FilterOptions) -> None:
    unknown = [name for name in options.use if name not in NAMES]
    if unknown:
        raise DataDoubleError(
            f"there is no filter '{unknown[0]}'", where="filters.use", remedy=suggest(unknown[0], list(NAMES))
        )
    shares = {
        name: getattr(options, name) for name in ("quantile", "types", "fragments", "ambiguity", "outside")
    }
    wrong = [f"{name} = {value:g}" for name, value in shares.items() if not 0 <= value <= 1]
    if wrong:
        raise DataDoubleError("a share lies between 0 and 1", where="filters", found=", ".join(wrong))


def _build(name: str, kept: dict[str, Any], cut: float, folder: Path, device: torch.device | str) -> Filter:
    rule = kept["structure"]
    expected = {
        label: Expected(one["lesion"], one["least_area"], tuple(one["types"]))
        for label, one in kept["expected"].items()
    }
    if name in LEARNED:
        tensors, facts = load_tensors(folder / WEIGHTS)
        network = UNetAutoencoder(UNetAutoencoderConfig(tuple(facts["widths"])))
        network.load_state_dict(tensors)
        network.to(device).eval().requires_grad_(False)
        learned = Reconstruction if name == "reconstruction" else Smoothness
        return learned(network, int(facts["size"]), cut)
    if name == "presence":
        return Presence(rule, expected, cut)
    if name == "types":
        return Types(rule, expected, cut)
    if name == "fragments":
        return Fragments(rule, cut)
    if name == "anatomy":
        return Anatomy(rule, kept["picture_rule"], kept["intensity"], cut)
    if name == "enclosure":
        return Enclosure(rule, cut)
    return Ambiguity(cut)


def _train_autoencoder(
    options: FilterOptions, train: PixelStore, folder: Path, key: str, device: torch.device | str, seed: int
) -> None:
    """Train it, or go on where a training for the same key was cut off."""
    path = folder / WEIGHTS
    training = AutoencoderOptions(
        size=options.autoencoder_size,
        images=options.autoencoder_images,
        widths=options.autoencoder_widths,
        seed=seed,
    )
    facts = {"key": key, "size": training.size, "widths": list(training.widths)}
    if path.is_file() and load_tensors(path)[1] == facts:
        return
    network = UNetAutoencoder(UNetAutoencoderConfig(training.widths))
    if training.size % network.factor:
        raise DataDoubleError(
            f"the size must divide by {network.factor}",
            where="filters.autoencoder_size",
            found=str(training.size),
        )
    state = folder / f".filter-autoencoder-{key}.state"
    train_reconstruction(
        network,
        prepare(train.images, training.size),
        training,
        device=str(device),
        bf16=has_fast_bf16(str(device)),
        state=state,
        facts=facts,
    )
    save_tensors(path, network.state_dict(), facts)
    state.unlink(missing_ok=True)


def _scores(one: Filter, store: PixelStore, labels: Sequence[str]) -> np.ndarray:
    """Return the scores of real pictures (n,), a few at a time."""
    scores = []
    for start in range(0, len(store), _CHUNK):
        some = slice(start, start + _CHUNK)
        masks = np.asarray(store.masks[some])
        clear = np.zeros(masks.shape, np.float32)
        scores.append(one.scores(Candidates(np.asarray(store.images[some]), masks, clear, labels[some])))
    return np.concatenate(scores)


def _expectations(stores: Sequence[tuple[PixelStore, Sequence[str]]], rule: str) -> dict[str, Expected]:
    """Return what the real pictures of each class hold."""
    areas: dict[str, list[float]] = {}
    types: dict[str, list[int]] = {}
    for store, labels in stores:
        for row, label in enumerate(labels):
            lesions = lesions_of(store.masks[row], rule)
            counts = np.bincount(lesions.ravel(), minlength=2)[1:]
            areas.setdefault(str(label), []).append(float(counts.sum() / lesions.size))
            if counts.sum():
                types.setdefault(str(label), []).append(1 + int(counts.argmax()))
    expected = {}
    for label, found in areas.items():
        area = np.array(found)
        having = area[area > 0]
        share = len(having) / len(area)
        lesion = "must" if share >= 1 - _RARE else "never" if share <= _RARE else "may"
        # Half of what the smallest hundredth of them fill, so that a small lesion is no fault.
        least = float(np.quantile(having, _RARE) / 2) if len(having) else 0.0
        common = np.bincount(types.get(label, [0]))
        main = tuple(int(t) for t in np.flatnonzero(common >= _RARE * common.sum()) if t > 0)
        expected[label] = Expected(lesion, round(least, 6), main)
    return expected
