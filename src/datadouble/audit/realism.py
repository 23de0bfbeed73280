"""Can real and synthetic pictures be told apart? A discriminator and linear probes, each with two controls.

An area of 0.5 means that they could not be told apart by this method. It only counts where the same method, on as
many pictures or fewer, found a faint artefact planted into real pictures (positive control), and found nothing
between two groups of real patients (negative control). Both sides come as pictures of one size by the one resize
path, in 8 bits; numbers and labels are matched, so that neither gives the side away. Patients are never split
between training and scoring.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from datadouble.audit.choices import choose
from datadouble.audit.evidence import named, plain
from datadouble.audit.parts import source_fingerprint
from datadouble.audit.utility.arms import half_of_patients
from datadouble.audit.utility.inputs import check_sizes, resized
from datadouble.audit.utility.presets import Preset
from datadouble.audit.utility.runs import CODE, Data, Job, Plan, digest, patient_folds, run_jobs, step_count
from datadouble.audit.utility.scores import Sampled, make_resamples, mean_curve, weighted_auc
from datadouble.errors import DataDoubleError
from datadouble.files import fingerprint
from datadouble.randomness import generator_for, seed_for

if TYPE_CHECKING:
    from datadouble.audit.features import Features
    from datadouble.audit.pictures import Pictures

# No shift and no change of brightness here: both hide what a generator may leave behind.
REALISM_PRESETS = {
    # The three-stage lesion paper's discriminator (Wen et al., J Med Imaging 2026;13(2):024002) is a ResNet-101; size,
    # epochs and optimiser are ours. Needs a GPU.
    "paper": Preset("paper", "resnet101", 256, 30, schedule="cosine", shift=0.0, gain=0.0),
    # About three minutes on one core for 400 pictures a side. With 70 steps it missed the planted grid, with 130 it
    # found it.
    "cpu": Preset(
        "cpu",
        "small",
        96,
        8,
        learning_rate=1e-3,
        weight_decay=0.05,
        schedule="cosine",
        folds=3,
        shift=0.0,
        gain=0.0,
        least_steps=130,
    ),
    "demo": Preset(
        "demo",
        "small",
        32,
        8,
        batch=16,
        learning_rate=2e-3,
        schedule="cosine",
        folds=2,
        shift=0.0,
        gain=0.0,
        least_steps=40,
    ),
}
MOST_ON_CPU = 600  # pictures a side, for the two CPU presets
FOUND = 0.95  # the planted artefact must be found with at least this area
LEAST = 8  # pictures and patients a side below which nothing is trained


def plant_artefact(pictures: np.ndarray, *, strength: float = 8.0) -> np.ndarray:
    """Add a faint grid to pictures (n, s, s) uint8, as upsampling in a generator may leave.

    Lines at every eighth of the side, ``s // 64`` wide or at least a pixel, ``strength`` grey levels brighter.
    """
    size = pictures.shape[1]
    lines = np.arange(size) % max(size // 8, 2) < max(size // 64, 1)
    grid = (lines[:, None] | lines[None, :]).astype(np.float32) * strength
    return np.clip(np.asarray(pictures, np.float32) + grid, 0, 255).astype(np.uint8)


def assess_realism(
    real: Pictures,
    double: Pictures,
    *,
    preset: str | Preset = "cpu",
    most: int | None = None,
    resamples: int = 1000,
    cache: Path | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Train a network to tell real from synthetic pictures, in cross-validation by patient, with both controls.

    Parameters
    ----------
    real, double : Pictures
        Read at one size.
    preset : str or Preset
        A key of ``REALISM_PRESETS``; ``"paper"`` is the ResNet-101.
    most : int, optional
        Most pictures a side; default 600 for the presets without a GPU, else no limit.
    cache : Path, optional
        Folder of finished trainings; the same call again continues.

    Returns
    -------
    dict
        ``auc`` (real against synthetic: 0.5 indistinguishable, 1 always told apart; interval over patients), ``roc``,
        ``controls`` (``planted``, ``real_against_real``, each with ``auc`` and ``passed``), ``controls_passed``,
        ``grey_levels_only`` (area of a linear probe that sees nothing but the histogram: what of it is brightness
        and black borders), ``n`` a side, ``labels_matched``, ``preset``.

    Raises
    ------
    DataDoubleError
        For sets of different sizes, or too few pictures or patients.
    """
    chosen = choose("preset", preset, REALISM_PRESETS)
    check_sizes([real, double])
    if most is None and chosen.name in ("cpu", "demo"):
        most = MOST_ON_CPU
    here, there, matched = match(real.labels, double.labels, most, seed)
    real, double = real.where(here), double.where(there)
    _check_enough(len(real), len(np.unique(real.groups)))
    size = min(chosen.size, real.array.shape[1])
    first, second = half_of_patients(real.labels, real.groups, generator_for(seed, "realism halves"))
    shown = resized(np.asarray(real.array), size)
    planted = resized(plant_artefact(real.array[second]), size)
    groups = np.array([f"synthetic:{name}" for name in double.groups])
    contests = {
        "double": (shown, resized(double.array, size), real.groups, groups),
        "planted": (shown[first], planted, real.groups[first], real.groups[second]),
        "plain": (shown[first], shown[second], real.groups[first], real.groups[second]),
    }
    # Equal steps for all three: a control with fewer would fail for want of training.
    steps = step_count(chosen, (len(real) + len(double)) * (chosen.folds - 1) // chosen.folds)
    areas, curves = {}, {}
    for name, contest in contests.items():
        work = cache / "realism" if cache is not None else None
        scores, targets, folds, everyone = _discriminate(chosen, name, contest, steps, work, seed)
        areas[name] = _area(targets, scores, folds, everyone, resamples, seed)
        curves[name] = mean_curve(targets, scores[None])
    histogram = _probe(
        first_order(shown), first_order(contests["double"][1]), real.groups, groups, seed, resamples
    )
    return plain(
        {
            "auc": named(areas["double"].estimate()),
            "roc": curves["double"],
            "n": len(real),
            "patients": len(np.unique(real.groups)),
            "n_double": len(double),
            "labels_matched": matched,
            "size": size,
            "preset": {"name": chosen.name, "network": chosen.network, "epochs": chosen.epochs},
            "resamples": resamples,
            **_controls(areas["planted"], areas["plain"]),
            "grey_levels_only": named(histogram.estimate()),
        }
    )


def linear_probe(
    real: Features,
    double: Features,
    *,
    planted: Features | None = None,
    name: str = "",
    folds: int = 5,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Logistic regression on standardised features: real against synthetic, cross-validated by patient.

    Parameters
    ----------
    real, double : Features
        Of one extractor.
    planted : Features, optional
        Of :func:`plant_artefact` of the very pictures of ``real``, in the same order: the positive control. Without it
        ``controls_passed`` is None.
    name : str
        Of the extractor.

    Returns
    -------
    dict
        ``name``, ``auc``, ``n``, ``n_double``, ``labels_matched``, ``controls``, ``controls_passed``.

    Raises
    ------
    DataDoubleError
        For too few pictures, or planted features that do not match the real ones.
    """
    if planted is not None and len(planted) != len(real):
        raise DataDoubleError(
            "the planted features are not those of the real pictures",
            where="planted",
            found=f"{len(planted)} beside {len(real)}",
            remedy="extract them from plant_artefact of the same pictures",
        )
    here, there, matched = match(real.labels, double.labels, None, seed)
    real, double = real.where(here), double.where(there)
    _check_enough(len(real), len(np.unique(real.groups)))
    first, second = half_of_patients(real.labels, real.groups, generator_for(seed, "realism halves"))
    groups = np.array([f"synthetic:{name}" for name in double.groups])
    halves = real.groups[first], real.groups[second]
    area = _probe(real.array, double.array, real.groups, groups, seed, resamples, folds)
    clean = _probe(real.array[first], real.array[second], *halves, seed, resamples, folds)
    found = None
    if planted is not None:
        marked = planted.array[here][second]
        found = _probe(real.array[first], marked, *halves, seed, resamples, folds)
    return plain(
        {
            "name": f"linear probe({name})" if name else "linear probe",
            "auc": named(area.estimate()),
            "n": len(real),
            "n_double": len(double),
            "labels_matched": matched,
            **_controls(found, clean),
        }
    )


def first_order(pictures: np.ndarray) -> np.ndarray:
    """Square roots of the shares of pixels in 32 bins of grey levels, bin 0 being exact black: (n, 33) float32."""
    edges = np.r_[0, 1, np.linspace(8, 256, 32)]
    counts = np.stack([np.histogram(picture, edges)[0] for picture in pictures])
    return np.sqrt(counts / pictures[0].size).astype(np.float32)


def match(
    labels: np.ndarray, other: np.ndarray, most: int | None, seed: int
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Rows of both sides with equally many pictures of each label; of any label where they share none.

    Returns
    -------
    rows, other rows, whether labels were matched
    """
    rng = generator_for(seed, "realism match")
    shared = sorted((set(labels) & set(other)) - {""})
    pairs = [(np.flatnonzero(labels == name), np.flatnonzero(other == name)) for name in shared]
    if not pairs:
        pairs = [(np.arange(len(labels)), np.arange(len(other)))]
    counts = [min(len(a), len(b)) for a, b in pairs]
    if most is not None and sum(counts) > most:
        counts = [count * most // sum(counts) for count in counts]
    here = [rng.permutation(a)[:count] for (a, _), count in zip(pairs, counts, strict=True)]
    there = [rng.permutation(b)[:count] for (_, b), count in zip(pairs, counts, strict=True)]
    return np.sort(np.concatenate(here)), np.sort(np.concatenate(there)), bool(shared)


def _controls(planted: Sampled | None, clean: Sampled) -> dict[str, Any]:
    low, high = clean.estimate(0.99)[1:3]
    controls: dict[str, Any] = {
        "real_against_real": {"auc": named(clean.estimate()), "passed": bool(low <= 0.5 <= high)}
    }
    passed: bool | None = None
    if planted is not None:
        estimate = planted.estimate()
        controls["planted"] = {"auc": named(estimate), "passed": bool(estimate.value >= FOUND)}
        passed = all(control["passed"] for control in controls.values())
    return {"controls": controls, "controls_passed": passed}


def _check_enough(pictures: int, patients: int) -> None:
    if min(pictures, patients) < LEAST:
        raise DataDoubleError(
            "too few pictures to judge realism",
            where="pictures",
            found=f"{pictures} a side of {patients} patients",
            remedy=f"at least {LEAST} of each are needed",
        )


Contest = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _discriminate(
    preset: Preset, name: str, contest: Contest, steps: int, cache: Path | None, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Scores of every picture by a network that saw none of its patient; targets (1: second side), folds, patients."""
    from datadouble.audit.utility.assess import step_seconds
    from datadouble.audit.utility.training import Pool, classification_loss, predict, train

    one, other, groups_one, groups_other = contest
    pictures, groups = np.concatenate([one, other]), np.concatenate([groups_one, groups_other])
    targets = np.repeat(np.array([0, 1]), [len(one), len(other)])
    splits = patient_folds(targets, groups, preset.folds, seed)
    key = fingerprint(
        source_fingerprint(*CODE, "audit/realism.py"),
        repr(preset),
        name,
        str((seed, steps)),
        digest(pictures, groups),
    )
    jobs = [
        Job(name, fold, 0, [(rows, steps)], len(one), len(other), key)
        for fold, (rows, _) in enumerate(splits)
    ]
    empty = np.empty((0, *pictures.shape[1:]), np.uint8)
    data = Data(pictures, targets, groups, groups, empty, targets[:0], groups[:0], key, "")

    def work(job: Job, step_done: Callable[[], None]) -> dict[str, Any]:
        network = train(
            preset,
            Pool([pictures]),
            Pool([targets]),
            job.stages,
            loss=classification_loss,
            seed=seed_for(seed, "realism", name, job.fold),
            step_done=step_done,
        )
        left_out = predict(preset, network, pictures[splits[job.fold][1]])
        return {"left_out": [round(float(p), 6) for p in left_out]}

    words = {
        "double": "realism",
        "planted": "realism, planted artefact",
        "plain": "realism, real against real",
    }
    results = run_jobs(
        Plan(jobs, splits, steps),
        work,
        cache=cache,
        description=words[name],
        step_seconds=lambda: step_seconds(preset, data),
    )
    scores, folds = np.empty(len(targets)), np.empty(len(targets), np.int64)
    for job, result in zip(jobs, results, strict=True):
        scores[splits[job.fold][1]] = result["left_out"]
        folds[splits[job.fold][1]] = job.fold
    return scores, targets, folds, groups


def _area(
    targets: np.ndarray, scores: np.ndarray, folds: np.ndarray, groups: np.ndarray, resamples: int, seed: int
) -> Sampled:
    """Area over pairs within a fold: networks of different folds share no scale."""
    draws = make_resamples(groups, 1, resamples=resamples, seed=seed_for(seed, "realism"))
    return Sampled(weighted_auc(targets, scores, draws.pictures, folds), len(targets))


def _probe(
    one: np.ndarray,
    other: np.ndarray,
    groups_one: np.ndarray,
    groups_other: np.ndarray,
    seed: int,
    resamples: int,
    folds: int = 5,
) -> Sampled:
    from sklearn.linear_model import LogisticRegression

    array = np.concatenate([one, other]).astype(np.float64)
    groups = np.concatenate([groups_one, groups_other])
    targets = np.repeat(np.array([0, 1]), [len(one), len(other)])
    scores, fold_of = np.empty(len(targets)), np.empty(len(targets), np.int64)
    for fold, (train, left) in enumerate(patient_folds(targets, groups, folds, seed)):
        mean, spread = array[train].mean(axis=0), array[train].std(axis=0)
        spread[spread < 1e-9] = 1.0
        # C below 1: there are often more features than pictures.
        model = LogisticRegression(C=0.01, max_iter=300).fit((array[train] - mean) / spread, targets[train])
        scores[left] = model.decision_function((array[left] - mean) / spread)
        fold_of[left] = fold
    return _area(targets, scores, fold_of, groups, resamples, seed)
