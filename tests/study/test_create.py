"""Making a study: equal shares, nothing that tells the origin, resumable, never overwritten."""

import json
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from datadouble.cohort import Cohort
from datadouble.cohort.pixels import fit_square, read_image
from datadouble.errors import DataDoubleError
from datadouble.study import create
from datadouble.study.create import create_study
from datadouble.study.protocol import Protocol, protocol_from, with_counts
from datadouble.study.study import Study

from .conftest import PLAIN, make_cohort

Cohorts = tuple[Cohort, Cohort]


def test_the_parts_hold_what_the_protocol_says(made: Path) -> None:
    table = Study.open(made).truth_table()
    counted = table[~table["practice"] & (table["repeat_of"] == "")]
    for part in ("one", "two"):
        mine = counted[counted["part"] == part]
        assert mine.groupby(["origin", "label"]).size().tolist() == [2] * 6
    # The second part shows the same cases under other names.
    cases = {part: set(rows["pair"]) for part, rows in counted.groupby("part")}
    assert cases["one"] == cases["two"] and len(cases["one"]) == 12
    assert len(set(table["image"])) == len(table) == 12 + 4 + 2 + 12
    practice = table[table["practice"]]
    assert sorted(practice["origin"]) == ["real", "synthetic"]
    assert not set(practice["pair"]) & cases["one"]
    repeats = table[table["repeat_of"] != ""].merge(
        table, left_on="repeat_of", right_on="image", suffixes=("", "_of")
    )
    assert sorted(repeats["origin"]) == ["real"] * 2 + ["synthetic"] * 2  # round(0.34 * 6) of each
    assert (repeats["pair"] == repeats["pair_of"]).all()
    real = counted[(counted["origin"] == "real") & (counted["part"] == "one")]
    assert real["patient"].nunique() == 6
    assert set(real["split"]) <= {"test", "holdout"}


def test_nothing_but_pixels_tells_the_origin(made: Path) -> None:
    study = Study.open(made)
    seen: dict[str, set[tuple]] = {"real": set(), "synthetic": set()}
    for row in study.truth().values():
        path = study.image_path(row.image)
        content, facts = path.read_bytes(), path.stat()
        data = content.index(b"IDAT")
        seen[row.origin].add(
            (
                len(content),
                content[
                    : data + 4 + 2 + 5
                ],  # header, chunk names, zlib's settings, the first block's kind and length
                content[-12:],
                content.count(b"IDAT"),
                facts.st_mtime_ns,
                stat.S_IMODE(facts.st_mode),
                len(path.name),
            )
        )
    assert seen["real"] == seen["synthetic"]
    assert len(seen["real"]) == 1
    # In the order in which a folder lists them, by name or by age, the origins are mixed as chance would.
    truth = study.truth()
    by_name = [truth[path.stem].origin for path in sorted((made / "images").iterdir())]
    changes = sum(a != b for a, b in zip(by_name, by_name[1:], strict=False))
    assert changes > len(by_name) / 5
    public = (made / "study.json").read_text()
    assert not any(row.image in public or row.source_image_id in public for row in truth.values())


def test_the_pixels_are_those_of_the_cohort_by_the_one_path(made: Path, cohorts: Cohorts) -> None:
    study = Study.open(made)
    assert study.size == 24
    for row in study.truth().values():
        if row.part != "one":
            continue
        cohort = cohorts[0] if row.origin == "real" else cohorts[1]
        index = list(cohort.table["image_id"]).index(row.source_image_id)
        shown = read_image(study.image_path(row.image))
        assert np.array_equal(shown, fit_square(cohort.image(index), 24))


def test_the_truth_and_the_secret_are_for_the_owner(made: Path) -> None:
    assert stat.S_IMODE((made / "private").stat().st_mode) == 0o700
    assert stat.S_IMODE((made / "private" / "secret.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((made / "answers.sqlite").stat().st_mode) == 0o600


def test_the_same_seed_draws_the_same_images_under_other_names(
    made: Path, tmp_path: Path, cohorts: Cohorts, plain: Protocol
) -> None:
    again = create_study(plain, *cohorts, tmp_path / "again", seed=5).truth_table()
    other = create_study(plain, *cohorts, tmp_path / "other", seed=6).truth_table()
    first = Study.open(made).truth_table()
    what = ["part", "origin", "source_image_id", "practice"]
    assert sorted(first[what].values.tolist()) == sorted(again[what].values.tolist())
    assert sorted(first[what].values.tolist()) != sorted(other[what].values.tolist())
    assert not set(first["image"]) & set(again["image"])


def test_asked_again_it_is_left_alone_and_another_is_refused(
    study_path: Path, cohorts: Cohorts, plain: Protocol
) -> None:
    before = {path: path.stat().st_mtime_ns for path in study_path.rglob("*")}
    create_study(plain, *cohorts, study_path, seed=5)
    assert {path: path.stat().st_mtime_ns for path in study_path.rglob("*")} == before
    with pytest.raises(DataDoubleError, match="another study stands here.*another seed"):
        create_study(plain, *cohorts, study_path, seed=6)
    with pytest.raises(DataDoubleError, match="protocol"):
        create_study(with_counts(plain, real=3), *cohorts, study_path, seed=5)


def test_a_folder_with_something_else_is_refused(tmp_path: Path, cohorts: Cohorts, plain: Protocol) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").write_text("dear")
    with pytest.raises(DataDoubleError, match="not empty"):
        create_study(plain, *cohorts, tmp_path / "letters")
    assert [path.name for path in (tmp_path / "letters").iterdir()] == ["a.txt"]


def test_a_full_disk_leaves_no_study_and_the_next_call_goes_on(
    tmp_path: Path, cohorts: Cohorts, plain: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    real_write = create.write_picture

    def write(path: Path, image: np.ndarray) -> None:
        if len(written) == 7:
            raise DataDoubleError("the disk is full")
        real_write(path, image)
        written.append(path.name)

    monkeypatch.setattr(create, "write_picture", write)
    with pytest.raises(DataDoubleError, match="full"):
        create_study(plain, *cohorts, tmp_path / "s", seed=5)
    with pytest.raises(DataDoubleError, match="not finished"):
        Study.open(tmp_path / "s")
    truth = (tmp_path / "s" / "private" / "truth.csv").read_bytes()
    first, written[:] = list(written), []
    monkeypatch.setattr(
        create, "write_picture", lambda path, image: (written.append(path.name), real_write(path, image))
    )
    study = create_study(plain, *cohorts, tmp_path / "s", seed=5)
    assert not set(first) & set(written)
    assert len(first) + len(written) == study.images == 30
    assert (tmp_path / "s" / "private" / "truth.csv").read_bytes() == truth


def test_killed_without_warning_it_goes_on(tmp_path: Path, cohorts: Cohorts, plain: Protocol) -> None:
    code = """
        import os, sys
        os.fsync = lambda handle: None
        from pathlib import Path
        from datadouble.cohort import Cohort
        from datadouble.study import create
        from datadouble.study.protocol import protocol_from
        import json
        real_write, count = create.write_picture, []
        def write(path, image):
            count.append(1)
            if len(count) == 5:
                path.with_name(f".{path.name}.part").write_bytes(b"half")
                os.kill(os.getpid(), 9)
            real_write(path, image)
        create.write_picture = write
        real, double, out, protocol = sys.argv[1:]
        create.create_study(protocol_from(json.loads(protocol)), Cohort.open(real), Cohort.open(double), out, seed=5)
    """
    done = subprocess.run(
        [
            sys.executable, "-c", textwrap.dedent(code), str(cohorts[0].path), str(cohorts[1].path),
            str(tmp_path / "s"), json.dumps(PLAIN),
        ],
        check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    study = create_study(plain, *cohorts, tmp_path / "s", seed=5)
    files = sorted(path.name for path in (tmp_path / "s" / "images").iterdir())
    assert files == sorted(f"{name}.png" for name in study.truth())


def test_killed_before_its_plan_it_starts_anew(tmp_path: Path, cohorts: Cohorts, plain: Protocol) -> None:
    (tmp_path / "s" / "private").mkdir(parents=True)
    (tmp_path / "s" / "private" / "truth.csv").write_text("half")
    assert create_study(plain, *cohorts, tmp_path / "s").images == 30


def test_a_truth_that_was_changed_is_noticed(study_path: Path) -> None:
    path = study_path / "private" / "truth.csv"
    path.write_text(path.read_text().replace("synthetic", "real", 1))
    with pytest.raises(DataDoubleError, match="changed"):
        Study.open(study_path).truth()


@pytest.mark.parametrize(
    "name", ["../private/truth.csv", "..", "", "a" * 16 + "\n", "A" * 16, "0" * 15, "%2e%2e", "0" * 17]
)
def test_no_name_leads_out_of_the_images(made: Path, name: str) -> None:
    with pytest.raises(DataDoubleError, match="no such image"):
        Study.open(made).image_path(name)


# -- what cannot be had is said


def test_without_masks_there_is_no_lesion_view(tmp_path: Path, cohorts: Cohorts, plain: Protocol) -> None:
    bare = make_cohort(tmp_path / "d", "synthetic", masks=False)
    with pytest.raises(DataDoubleError, match="masks or a column `bbox`.*double has neither"):
        create_study(plain, cohorts[0], bare, tmp_path / "s")
    assert not (tmp_path / "s").exists()


def one_part(**changes: object) -> Protocol:
    return protocol_from({**PLAIN, "parts": [{"name": "one", "repeats_share": 0.0, **changes}]})


def test_cohorts_the_wrong_way_round(tmp_path: Path, cohorts: Cohorts, plain: Protocol) -> None:
    with pytest.raises(DataDoubleError, match="origin real"):
        create_study(plain, cohorts[1], cohorts[0], tmp_path / "s")


def test_too_few_images(tmp_path: Path, cohorts: Cohorts) -> None:
    with pytest.raises(DataDoubleError, match="too few images for 500 real.*12 of 3"):
        create_study(one_part(real=500, synthetic=500), *cohorts, tmp_path / "s")
    with pytest.raises(DataDoubleError, match="practice"):
        create_study(one_part(real=36, synthetic=36, practice=2), *cohorts, tmp_path / "s")


def test_train_scans_come_only_when_they_must_and_it_is_said(tmp_path: Path, cohorts: Cohorts) -> None:
    said: list[str] = []
    study = create_study(one_part(real=30, synthetic=30), *cohorts, tmp_path / "s", say=said.append)
    assert any("3 of 30 real images are from train" in text for text in said)  # 27 are in test and holdout
    assert any("30 real images are of 12 patients" in text for text in study.warnings)
    strict = protocol_from({**one_part(real=30, synthetic=30).to_json(), "splits": ["test", "holdout"]})
    with pytest.raises(DataDoubleError, match="too few"):
        create_study(strict, *cohorts, tmp_path / "t")


def test_a_rare_class_is_as_rare_on_both_sides(tmp_path: Path, cohorts: Cohorts) -> None:
    double = make_cohort(
        tmp_path / "d", "synthetic", images=26, used=("3", "4", "3", "4", "3", "4", "3", "4", "5")
    )
    study = create_study(one_part(real=12, synthetic=12), cohorts[0], double, tmp_path / "s")
    counts = study.truth_table().groupby(["label", "origin"]).size().unstack()
    assert counts.loc["5"].tolist() == [2, 2]
    assert (counts["real"] == counts["synthetic"]).all()
    assert any("equal shares were not to be had" in text for text in study.warnings)


def test_cohorts_without_a_common_class(tmp_path: Path, cohorts: Cohorts) -> None:
    other = make_cohort(tmp_path / "d", "synthetic", classes=("benign", "malignant"))
    with pytest.raises(DataDoubleError, match="share no class"):
        create_study(one_part(real=3, synthetic=3), cohorts[0], other, tmp_path / "s")


def test_each_class_and_synthetic_alone(tmp_path: Path, cohorts: Cohorts) -> None:
    study = create_study(one_part(synthetic=4, per_class=True), *cohorts, tmp_path / "s")
    assert study.truth_table().groupby(["origin", "label"]).size().to_dict() == {
        ("synthetic", name): 4 for name in ("3", "4", "5")
    }
