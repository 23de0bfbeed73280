"""The adapters of a run, from Python and from the command line."""

import shutil
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from datadouble.cli.app import app
from datadouble.errors import DataDoubleError
from datadouble.networks.weights import load_tensors
from datadouble.recipes.lesion import adapter_tools
from datadouble.recipes.lesion.adapters import adapter_folder, load_adapter


def test_they_are_listed_with_their_base(lesion_run: Path) -> None:
    lines = adapter_tools.table(lesion_run)
    assert [line.split(":")[0] for line in lines] == ["lesion/benign", "lesion/malignant", "repair/seam"]
    assert all("rank 2" in line for line in lines)
    told = CliRunner().invoke(app, ["adapters", str(lesion_run)])
    assert told.exit_code == 0 and told.output.splitlines() == lines


def test_merged_weights_are_those_of_base_and_adapter(lesion_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "benign.safetensors"
    told = CliRunner().invoke(app, ["adapters", str(lesion_run), "--merge", "benign", str(out)])
    assert told.exit_code == 0, told.output
    merged, facts = load_tensors(out)
    adapted, base = adapter_tools.base_of(lesion_run, "lesion")
    alone, _ = adapter_tools.base_of(lesion_run, "lesion")
    load_adapter(adapted, adapter_folder(lesion_run / "lesion", "benign"), base)
    assert facts["base"] == base
    patch = (
        torch.randn(2, 2, 16, 16),
        torch.tensor([10.0, 600.0]),
        torch.tensor([0, 0]),
        torch.randn(2, 8),
    )
    expected = adapted(*patch)
    assert not torch.equal(alone(*patch), expected)
    alone.load_state_dict(merged)
    torch.testing.assert_close(alone(*patch), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(DataDoubleError, match="exists"):
        adapter_tools.merge(lesion_run, "benign", out)
    adapter_tools.merge(lesion_run, "repair/seam", tmp_path / "seam.safetensors")
    network, _ = adapter_tools.base_of(lesion_run, "repair")
    network.load_state_dict(load_tensors(tmp_path / "seam.safetensors")[0])


def test_one_is_swapped_for_another_of_its_base_alone(lesion_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(lesion_run, run)
    other = adapter_folder(run / "lesion", "malignant")
    told = CliRunner().invoke(app, ["adapters", str(run), "--swap", "benign", str(other)])
    assert told.exit_code == 0, told.output
    here, there = (
        load_tensors(adapter_folder(folder / "lesion", "benign") / "adapter.safetensors")[0]
        for folder in (run, lesion_run)
    )
    assert any(not torch.equal(here[name], there[name]) for name in here)
    assert "lesion/benign" in adapter_tools.table(run)[0]
    with pytest.raises(DataDoubleError, match="another"):
        adapter_tools.swap(run, "benign", adapter_folder(run / "repair", "seam"))


def test_runs_without_adapters_are_refused(run: Path) -> None:
    with pytest.raises(DataDoubleError, match=r"only runs of recipe lesion.*coldit"):
        adapter_tools.table(run)
