"""The whole usefulness test: a good double is as good as real, a useless one is not, and a kill costs little."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datadouble.audit.pictures import Pictures
from datadouble.audit.utility import (
    UTILITY_PRESETS,
    Grouping,
    assess_utility,
    choose_grouping,
    markdown_table,
    parse_grouping,
)
from datadouble.audit.utility import assess as module
from datadouble.audit.utility.compare import _centred_on_chance
from datadouble.errors import DataDoubleError

QUICK = replace(UTILITY_PRESETS["demo"], epochs=3, folds=2)


@pytest.fixture(scope="module")
def found(
    good_double: Pictures,
    train_set: Pictures,
    test_set: Pictures,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[dict, Path]:
    cache = tmp_path_factory.mktemp("utility")
    return assess_utility(good_double, train_set, test_set, preset=QUICK, cache=cache, resamples=200), cache


def test_a_double_of_the_same_law_is_as_good_as_real(found: tuple[dict, Path]) -> None:
    result = found[0]
    assert result["task"]["grouping"] == "2|4"
    assert result["arms"]["real"]["auc"]["value"] > 0.95 < result["arms"]["synthetic"]["auc"]["value"]
    assert result["arms"]["synthetic"]["against_real"]["verdict"] in ("equivalent", "no difference shown")


def test_the_controls_come_out(found: tuple[dict, Path]) -> None:
    controls = found[0]["controls"]
    assert controls["real_as_double"]["auc"]["value"] > 0.95
    assert controls["real_as_double"]["passed"] and controls["permuted_labels"]["passed"]
    assert controls["permuted_labels"]["auc"]["value"] < 0.9


def test_areas_by_chance_are_centred_and_a_leak_is_not() -> None:
    assert _centred_on_chance([0.9, 0.2, 0.6, 0.35, 0.5])
    assert not _centred_on_chance([0.62, 0.66, 0.64, 0.61, 0.65])


def test_the_result_is_plain_json_without_patients_or_paths(found: tuple[dict, Path]) -> None:
    text = json.dumps(found[0], allow_nan=False)
    assert "real-p" not in text and str(found[1]) not in text


def test_the_table_has_every_arm(found: tuple[dict, Path]) -> None:
    lines = markdown_table(found[0]).splitlines()
    assert len(lines) == 2 + 6 + 2 and len({line.count("|") for line in lines}) == 1
    assert any(line.startswith("| half real alone | 20 + 0 ") for line in lines)


def test_nothing_is_trained_twice(
    found: tuple[dict, Path],
    good_double: Pictures,
    useless_double: Pictures,
    train_set: Pictures,
    test_set: Pictures,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result, cache = found
    trained = []
    original = module._train_and_predict

    def counted(*args: object) -> dict:
        trained.append(args[4].arm)  # type: ignore[attr-defined]
        return original(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_train_and_predict", counted)
    stored = sorted(cache.rglob("half_real-1-*.json"))
    stored[0].write_text("{ cut o")  # what a full disk may leave
    again = assess_utility(good_double, train_set, test_set, preset=QUICK, cache=cache, resamples=200)
    assert trained == ["half_real"] and again == result
    # Another double: only the arms that use it are trained.
    trained.clear()
    other = assess_utility(
        useless_double, train_set, test_set, arms=["synthetic"], preset=QUICK, cache=cache, resamples=200
    )
    assert set(trained) == {"synthetic"}
    synthetic = other["arms"]["synthetic"]
    assert synthetic["auc"]["value"] < 0.9 and synthetic["against_real"]["verdict"] == "worse"
    assert other["headline"]["equivalent"] is False


def test_groupings() -> None:
    assert parse_grouping(" 2, 3|4,5") == Grouping(("2", "3"), ("4", "5"))
    assert str(parse_grouping("2,3|4,5")) == "2,3|4,5"
    assert list(parse_grouping("3|4").targets(np.array(["2", "3", "4"]))) == [-1, 0, 1]
    for wrong in ("2,3", "2|2", "|4", "1|2|3"):
        with pytest.raises(DataDoubleError, match="grouping"):
            parse_grouping(wrong)
    # 271 and 224 against 346 and 70 is the most even cut of BUS-BRA's training set.
    labels = np.repeat(["2", "3", "4", "5"], [271, 224, 346, 70])
    assert str(choose_grouping(("2", "3", "4", "5"), labels)) == "2,3|4,5"
    breast = np.repeat(["normal", "benign", "malignant"], [133, 437, 210])  # BUSI: ordered
    assert str(choose_grouping(("normal", "benign", "malignant"), breast)) == "normal,benign|malignant"
    with_normal = np.repeat(["normal", "2", "4a"], [10, 60, 60])
    assert str(choose_grouping(("normal", "2", "4a"), with_normal)) == "normal,2|4a"
    chest = np.repeat(["thymoma", "lymphoma", "normal"], [50, 50, 50])  # types have no order
    assert str(choose_grouping(("thymoma", "lymphoma", "normal"), chest)) == "normal|thymoma,lymphoma"
    assert str(choose_grouping(("thymoma", "lymphoma"), chest)) == "thymoma|lymphoma"


def test_faults_are_named(train_set: Pictures, test_set: Pictures, good_double: Pictures) -> None:
    with pytest.raises(DataDoubleError, match="share patients"):
        assess_utility(good_double, train_set, train_set, preset=QUICK)
    with pytest.raises(DataDoubleError, match="different sizes"):
        small = replace(good_double, array=good_double.array[:, ::2, ::2])
        assess_utility(small, train_set, test_set, preset=QUICK)
    with pytest.raises(DataDoubleError, match="no picture of the two groups"):
        assess_utility(good_double.where(np.zeros(80, bool)), train_set, test_set, preset=QUICK)
    with pytest.raises(DataDoubleError, match="did you mean 'demo'"):
        assess_utility(good_double, train_set, test_set, preset="dem")
