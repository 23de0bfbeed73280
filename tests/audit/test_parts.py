"""Finished parts are found again, and only where nothing changed."""

import contextlib
from pathlib import Path

import numpy as np
import pytest

import datadouble
from datadouble.audit.audit import CODE
from datadouble.audit.parts import Part, PartStore, source_fingerprint


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


def test_other_code_is_another_fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datadouble, "__file__", str(tmp_path / "__init__.py"))
    for name in ("audit/copies.py", "audit/report/page.py", "stats/roc.py", "cli/app.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x = 1\n")

    def now() -> str:
        return source_fingerprint.__wrapped__(*CODE, without="audit/report")

    before = now()
    assert now() == before
    for name in ("audit/report/page.py", "cli/app.py"):  # they only draw and speak
        (tmp_path / name).write_text("x = 2\n")
    assert now() == before
    found = {before}
    for name in ("audit/copies.py", "stats/roc.py", "stats/new.py"):
        (tmp_path / name).write_text("x = 3\n")
        found.add(now())
    (tmp_path / "stats/new.py").rename(tmp_path / "stats/newer.py")
    assert len(found | {now()}) == 5


def test_every_name_that_stands_for_code_is_there() -> None:
    package = Path(datadouble.__file__).parent
    assert all((package / name).exists() for name in CODE)
    assert source_fingerprint(*CODE) != source_fingerprint(*CODE, without="audit/report")
