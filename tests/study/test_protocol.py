"""Protocols: the presets are what the papers did; every fault of a wrong one is told."""

import tomllib
from pathlib import Path

import pytest

from datadouble.errors import DataDoubleError
from datadouble.study.protocol import preset_names, protocol_from, read_protocol, with_counts


@pytest.mark.parametrize("name", preset_names())
def test_each_preset_is_sound_and_goes_through_json(name: str) -> None:
    protocol = read_protocol(name)
    assert protocol.name == name
    assert protocol_from(protocol.to_json()) == protocol


def test_the_presets_ask_what_the_papers_asked() -> None:
    first = read_protocol("coldit-1").part("full")
    assert (first.real, first.synthetic, first.per_class, first.view) == (500, 500, False, "full")
    second = read_protocol("coldit-2").part("lesion")
    assert (second.view, second.images_of, second.after_days) == ("lesion", "full", 14)
    third = read_protocol("coldit-3")
    assert (third.parts[0].real, third.parts[0].synthetic) == (200, 200)
    grade = third.questions[0]
    assert [grade.right_value("real", label) for label in ("2", "3", "4", "4a", "5")] == [
        "", "3", "4-5", "4-5", "4-5",
    ]  # fmt: skip
    types = read_protocol("diffguard").parts[0]
    assert (types.real, types.synthetic, types.per_class) == (20, 20, True)
    assert "half" in read_protocol("diffguard").instructions


def test_right_and_other_values() -> None:
    question = read_protocol("coldit-1").questions[0]
    assert question.right_value("synthetic", "3") == "synthetic"
    assert (question.positive, question.negative) == ("synthetic", "real")


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(DataDoubleError) as caught:
        protocol_from(
            {
                "name": "Bad Name",
                "title": "t",
                "instructions": "",
                "questions": [
                    {
                        "key": "q",
                        "text": "?",
                        "truth": "origin",
                        "positive": "x",
                        "answers": [
                            {"key": "a", "value": "v", "label": "V", "truth": ["real"]},
                            {"key": "a", "value": "v", "label": "V", "truth": ["reel"]},
                            {"key": "u", "value": "w", "label": "W"},
                        ],
                    }
                ],
                "parts": [
                    {"name": "p", "after_days": 3, "questions": ["nope"], "repeats_share": 0.9},
                    {"name": "p", "images_of": "later", "view": "side"},
                ],
            }
        )
    message = str(caught.value)
    for piece in (
        "'Bad Name'", "key 'a' is used twice", "value 'v' is used twice", "'reel'", "right for synthetic",
        "positive 'x'", "kept by the page", "after_days of the first", "question 'nope'", "0.9", "no images",
        "'p' twice", "images_of 'later'", "view 'side'",
    ):  # fmt: skip
        assert piece in message, piece


def test_wrong_keys_and_types_are_told_with_the_nearest_right_one(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('name = "x"\ntitel = "t"\nsize = "big"\nparts = 3\nmargin = 1\n')
    with pytest.raises(DataDoubleError) as caught:
        read_protocol(file)
    message = str(caught.value)
    for piece in (
        "mine.toml",
        "did you mean 'title'?",
        "no whole number",
        "parts is no list",
        "questions is missing",
    ):
        assert piece in message, piece
    assert "margin" not in message  # a whole number is a number


def test_what_is_no_protocol(tmp_path: Path) -> None:
    with pytest.raises(DataDoubleError, match="coldit-1"):
        read_protocol("coldit1")
    with pytest.raises(DataDoubleError, match="missing"):
        read_protocol(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("= 3")
    with pytest.raises(DataDoubleError, match="no TOML"):
        read_protocol(tmp_path / "bad.toml")


def test_other_counts_leave_the_dependent_part_alone() -> None:
    changed = with_counts(read_protocol("coldit-2"), real=20, synthetic=30, practice=0)
    assert [(p.real, p.synthetic, p.practice) for p in changed.parts] == [(20, 30, 0), (0, 0, 0)]


def test_the_protocol_of_the_documentation_is_sound(repository: Path) -> None:
    page = (repository / "docs/reference/study.md").read_text()
    protocol = protocol_from(tomllib.loads(page.split("```toml\n")[1].split("```")[0]))
    assert [part.name for part in protocol.parts] == ["first", "second"]
