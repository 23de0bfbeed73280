"""DiffGuard under differential privacy, in small: gradients are one picture's, and what no budget covers is refused."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.recipes.test_diffguard import TINY, make_cohort

from datadouble.cohort import Cohort
from datadouble.errors import DataDoubleError
from datadouble.networks.weights import load_tensors
from datadouble.recipes import fit, generate
from datadouble.recipes import mask_labels as labels
from datadouble.recipes.config import build, read_config, to_toml
from datadouble.recipes.diffguard import DiffguardConfig, DiffguardTask
from datadouble.recipes.filter_fitting import FilterOptions, keep_rules, load_filters
from datadouble.recipes.filters import Candidates
from datadouble.recipes.runs import choose_material, resolve_config
from datadouble.training.privacy import options as module
from datadouble.training.privacy.options import PrivacyPlan
from datadouble.training.privacy.per_sample import check_per_sample_gradients

PRIVATE = (
    "privacy.epsilon=8",
    "privacy.patients_per_step=4",
    "privacy.draws=2",
    "training.images=16",
    "training.sheet_every=1000",
    "model.attention=[8]",
    'filters.use=["ambiguity","types","fragments","anatomy","enclosure"]',
    "filters.ambiguity=1.0",
    "filters.types=1.0",
    "filters.fragments=1.0",
    "filters.outside=1.0",
)


@pytest.fixture(autouse=True)
def quick_accounting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The accountants are tested elsewhere."""
    monkeypatch.setattr(module, "noise_multiplier_for", lambda *_, **__: 0.7)
    monkeypatch.setattr(module, "epsilon_of", lambda *_, **__: 7.9)
    monkeypatch.setattr(module, "epsilon_by_pld", lambda *_, **__: 7.89)
    monkeypatch.setattr(PrivacyPlan, "spent", lambda plan, steps: plan.epsilon)


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Forty-eight pictures of twenty-four patients; normal ones have no mask."""
    return make_cohort(tmp_path_factory.mktemp("boxes") / "cohort")


def test_the_budget_is_said_and_no_picture_decides_a_filter(boxes: Cohort, tmp_path: Path) -> None:
    options = [*TINY, *PRIVATE, "data.conditional=false"]
    with pytest.MonkeyPatch.context() as patch:

        def asked(*_: object, **__: object) -> None:
            raise AssertionError("a private run asked the masks for their classes")

        patch.setattr("datadouble.recipes.diffguard.labels_by_mask", asked)
        patch.setattr("datadouble.recipes.diffguard.fit_filters", asked)
        run = fit("diffguard", boxes.path, tmp_path / "run", overrides=options)
    model = json.loads((run / "model" / "model.json").read_text())
    assert model["mask_labels"] == [0, 1, 2]  # normal, left, right: by their names
    double = generate(run, tmp_path / "double", images=2)
    assert double.info.generator is not None and len(double) == 2
    provenance = json.loads((run / "provenance.json").read_text())
    for facts in (model["privacy"], provenance["privacy"], double.info.generator["privacy"]):
        assert facts["epsilon"] == pytest.approx(8.0) and facts["unit"] == "patient"
        declared = " ".join(facts["declared"])
        for words in (
            "classes of the masks",
            "fixed rule 'hounsfield'",
            "by its name",
            "fixed rules and cuts",
        ):
            assert words in declared
    filters = json.loads((run / "model" / "filters" / "filters.json").read_text())
    assert filters["cuts"] == dict.fromkeys(("ambiguity", "types", "fragments", "anatomy", "enclosure"), 1.0)
    assert filters["expected"] == {}
    assert not any(note["data_dependent"] for note in filters["notes"].values())
    assert "loss" not in (run / "metrics.jsonl").read_text()
    assert (run / "model/best.safetensors").read_bytes() == (run / "model/last.safetensors").read_bytes()


def test_a_killed_private_run_goes_on_to_the_same_bytes(boxes: Cohort, tmp_path: Path) -> None:
    class Killed(BaseException):
        """Stands for kill -9."""

    options = [*TINY, *PRIVATE, "training.checkpoint_every=4", "filters.use=[]"]
    losses, seen = DiffguardTask.private_losses, []

    def dying(self: DiffguardTask, network: torch.nn.Module, *batch: torch.Tensor) -> dict:
        seen.append(len(batch[0]))
        if len(seen) == 9:
            raise Killed
        return losses(self, network, *batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("secrets.token_hex", lambda _: "5eed")
        whole = fit("diffguard", boxes.path, tmp_path / "whole", overrides=options)
        with patch.context() as inner:
            inner.setattr(DiffguardTask, "private_losses", dying)
            with pytest.raises(Killed):
                fit("diffguard", boxes.path, tmp_path / "run", overrides=options)
        run = fit("diffguard", boxes.path, tmp_path / "run")
    mine, other = ((folder / "model/last.safetensors").read_bytes() for folder in (run, whole))
    assert mine == other


@pytest.mark.parametrize("objective", ["clean", "hybrid"])
def test_gradients_are_those_of_single_pictures(boxes: Cohort, tmp_path: Path, objective: str) -> None:
    """With attention, residual resampling and coordinates: the ghost engine against a loop, to 1e-4."""
    config = build(
        DiffguardConfig,
        {},
        [
            *TINY,
            f"diffusion.objective={objective}",
            "model.attention=[4]",
            "model.resampling=residual",
            "model.coordinates=true",
            "augment.share=1.0",
        ],
    )
    material = choose_material(boxes, (), 0.1, 0)
    task = DiffguardTask(config, material, "hounsfield", tmp_path, torch.device("cpu"))
    times, random = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64), torch.Generator().manual_seed(1)
    batch = task.private_batch(np.arange(3), times, random)
    error = check_per_sample_gradients(
        task.network, lambda network, *parts: task.private_losses(network, *parts)["loss"], batch
    )
    assert error < 1e-4


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a public cohort."""
    public = make_cohort(tmp_path_factory.mktemp("public") / "cohort")
    info = json.loads((public.path / "cohort.json").read_text())
    (public.path / "cohort.json").write_text(json.dumps(info | {"name": "public"}))
    short = [*TINY, "model.attention=[8]", "training.images=16", "training.sheet_every=1000"]
    return fit("diffguard", public.path, tmp_path_factory.mktemp("start") / "run", overrides=short)


@pytest.mark.parametrize("trainable", ["few", "lora"])
def test_few_weights_are_trained_on_a_public_run(
    boxes: Cohort, start: Path, tmp_path: Path, trainable: str
) -> None:
    """Convolutions inside stay as they were; the last layer moves."""
    options = [*TINY, *PRIVATE, "filters.use=[]", f"privacy.start={start}", "privacy.rank=2"]
    options += [f"privacy.trainable={trainable}", "training.ema_half_life=1"]
    run = fit("diffguard", boxes.path, tmp_path / "run", overrides=options)
    before, after = (load_tensors(folder / "model/last.safetensors")[0] for folder in (start, run))
    assert set(before) == set(after)
    moved = {name for name in before if not torch.allclose(before[name], after[name], atol=1e-7)}
    assert any(".conv_out." in name for name in moved)
    assert any("time_emb_proj.weight" in name for name in moved)
    assert not any("conv1.weight" in name for name in moved)
    assert len(generate(run, tmp_path / "drawn", images=2)) == 2


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["filters.use=[reconstruction,ambiguity]"], "filters rest on the private pictures"),
        (['filters.use=["presence","types"]'], r'filters.use=\["types"\]'),
        (["data.balance=true"], "cannot take turns"),
        (["privacy.epsilon=0", "privacy.clip=2.0"], "would not be private"),
        (["privacy.trainable=few"], "random initial weights"),
    ],
)
def test_what_no_budget_covers_is_refused_before_anything_is_written(
    boxes: Cohort, tmp_path: Path, overrides: list[str], words: str
) -> None:
    overrides = [o.replace("[reconstruction,ambiguity]", '["reconstruction","ambiguity"]') for o in overrides]
    for dry_run in (False, True):
        with pytest.raises(DataDoubleError, match=words):
            fit(
                "diffguard",
                boxes.path,
                tmp_path / "run",
                overrides=[*TINY, *PRIVATE, *overrides],
                dry_run=dry_run,
            )
    assert not (tmp_path / "run").exists()


def test_filters_by_default_are_refused_with_the_remedy(boxes: Cohort, tmp_path: Path) -> None:
    bare = [o for o in (*TINY, *PRIVATE) if not o.startswith("filters.use")]
    with pytest.raises(DataDoubleError) as caught:
        fit("diffguard", boxes.path, tmp_path / "run", overrides=bare)
    assert '["types","fragments","ambiguity","anatomy","enclosure"]' in str(caught.value)
    with pytest.raises(DataDoubleError, match="told by the lesion's name"):
        labels.labels_by_name(("background", "lesion"), ("benign", "malignant"), ("benign", "malignant"))


def test_classes_follow_from_names_as_they_would_from_masks() -> None:
    names = ("background", "Benign", "malignant")
    assert labels.labels_by_name(
        names, ("normal", "malignant", "benign"), ("normal", "malignant", "benign")
    ) == (
        0,
        2,
        1,
    )
    # Without a class for "no lesion"; and with one class left out of the run.
    assert labels.labels_by_name(names, ("benign", "malignant"), ("benign", "malignant")) == (-1, 0, 1)
    assert labels.labels_by_name(names, ("normal", "benign"), ("normal", "malignant", "benign")) == (0, 1, -1)


def test_a_run_begun_before_the_section_was_there_goes_on(boxes: Cohort, tmp_path: Path) -> None:
    """Its config.toml has no [privacy], its model.json no privacy: both mean none, and the bytes are the same."""

    class Killed(BaseException):
        """Stands for kill -9."""

    short = [*TINY, "training.images=32"]
    whole = fit("diffguard", boxes.path, tmp_path / "whole", overrides=short)
    losses = DiffguardTask.losses

    def dying(
        self: DiffguardTask, network: torch.nn.Module, rows: np.ndarray, at: int, places: slice
    ) -> dict:
        if at == 24:
            raise Killed
        return losses(self, network, rows, at, places)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DiffguardTask, "losses", dying)
        with pytest.raises(Killed):
            fit("diffguard", boxes.path, tmp_path / "run", overrides=short)
    run = tmp_path / "run"
    text = (run / "config.toml").read_text()
    begun, _, rest = text.partition("\n[privacy]")
    assert rest and "\n[" not in rest  # the last section: nothing else is cut away
    (run / "config.toml").write_text(begun)
    values = read_config(run / "config.toml")
    assert "privacy" not in values
    config = resolve_config(run, "diffguard", DiffguardConfig, "", short)
    assert to_toml(config) == to_toml(build(DiffguardConfig, {}, short))
    fit("diffguard", boxes.path, run, overrides=short)
    assert (run / "config.toml").read_text() == begun
    for name in ("best", "last", "early"):
        mine, other = (folder / f"model/{name}.safetensors" for folder in (run, whole))
        assert mine.read_bytes() == other.read_bytes(), name
    model = json.loads((run / "model/model.json").read_text())
    model.pop("privacy")
    (run / "model/model.json").write_text(json.dumps(model))
    double = generate(run, tmp_path / "double", images=1)
    assert double.info.generator is not None and "privacy" not in double.info.generator


def test_rules_judge_masks_without_having_seen_any(tmp_path: Path, boxes: Cohort) -> None:
    options = FilterOptions(use=("types", "fragments", "ambiguity", "enclosure"))
    bank = keep_rules(options, "none", info=boxes.info, folder=tmp_path)
    assert [one.name for one in bank.filters] == ["types", "fragments", "ambiguity"]
    assert [one.cut for one in bank.filters] == [options.types, options.fragments, options.ambiguity]
    assert asdict(load_filters(tmp_path).filters[0]) == asdict(bank.filters[0])
    clean, mixed, pieces = np.zeros((3, 16, 16), np.uint8)
    clean[4:8, 4:8] = mixed[4:8, 4:6] = 1
    mixed[4:8, 6:8], pieces[1:3, 1:3], pieces[9:12, 9:12] = 2, 1, 1
    masks = np.stack([clean, mixed, pieces])
    found = bank.judge(Candidates(masks, masks, np.zeros(masks.shape, np.float32), ["left"] * 3))
    assert found["types"].kept.tolist() == [True, False, True]
    assert found["fragments"].kept.tolist() == [True, True, False]
    assert found["ambiguity"].kept.all()
