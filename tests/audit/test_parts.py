"""Finished parts are found again, and only where nothing changed."""

import contextlib
from pathlib import Path

import numpy as np

from datadouble.audit.parts import Part, PartStore


def test_a_part_is_computed_once_for_each_state_of_what_it_depends_on(tmp_path: Path) -> None:
    calls = []

    def compute() -> Part:
        calls.append(1)
        return Part({"value": np.float32(1.5), "none": float("nan")}, {"rows": np.arange(3)})

    for _ in range(2):
        part = PartStore(tmp_path / "parts", "cohort 1").get("fd", compute, "seed 0")
        assert part.evidence == {"value": 1.5, "none": None}
        assert part.arrays["rows"].tolist() == [0, 1, 2]
    assert len(calls) == 1
    PartStore(tmp_path / "parts", "cohort 2").get("fd", compute, "seed 0")
    PartStore(tmp_path / "parts", "cohort 1").get("fd", compute, "seed 1")
    assert len(calls) == 3


def test_a_part_cut_off_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Part:
        raise KeyboardInterrupt

    store = PartStore(tmp_path / "parts")
    with contextlib.suppress(KeyboardInterrupt):
        store.get("fd", broken)
    assert not list(tmp_path.rglob("*.safetensors"))
    assert store.get("fd", lambda: Part({"value": 2})).evidence == {"value": 2}
