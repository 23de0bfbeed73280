"""Numbers in words."""

import pytest

from datadouble.audit.report.numbers import (
    at,
    interval,
    number,
    p_value,
    p_words,
    percent,
    plural,
    sentence,
    without_paths,
)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (64.71, "64.7"),
        (0.00123, "0.00123"),
        (1234.0, "1,234"),
        (-2.5, "−2.50"),
        (0, "0"),
        (None, "–"),
        (float("nan"), "–"),
    ],
)
def test_number(value, words):
    assert number(value) == words


@pytest.mark.parametrize(
    ("share", "words"),
    [(0.5, "50%"), (0.128, "12.8%"), (0.00037, "0.037%"), (0.0, "0%"), (1.0, "100%"), ("x", "–")],
)
def test_percent(share, words):
    assert percent(share) == words


def test_p_values():
    assert p_words(0.0004) == "P < 0.001"
    assert p_words(0.0312) == "P = 0.031"
    assert p_value(0.0312) == "0.031"
    assert p_value(None) == "–"


def test_interval_and_plural():
    assert interval({"value": 0.5, "low": 0.4, "high": 0.6}) == "0.50 (0.40 to 0.60)"
    assert interval({"value": 0.5, "low": None, "high": None}) == "0.50"
    assert interval(None) == "–"
    assert plural(1, "picture") == "1 picture"
    assert plural(2000, "picture") == "2,000 pictures"
    assert sentence("too few.") == "Too few."


def test_a_missing_step_is_none():
    assert at({"a": {"b": 1}}, "a.b") == 1
    assert at({"a": None}, "a.b.c") is None
    assert at(None, "a") is None


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("cannot read '/home/anna/scans/x.png'", "cannot read 'x.png'"),
        (r"C:\Users\anna\x.png is broken", "x.png is broken"),
        ("../shared/data/busi", "busi"),
        ("FD(efficientnet-lite0), 95% to 97%", "FD(efficientnet-lite0), 95% to 97%"),
        (12, "12"),
    ],
)
def test_of_a_path_the_last_part_is_left(text, kept):
    assert without_paths(text) == kept
