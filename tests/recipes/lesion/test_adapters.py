"""Adapters on disk: there and back, folded in, swapped, and never on another base."""

from pathlib import Path

import pytest
import torch

from datadouble import files
from datadouble.errors import DataDoubleError
from datadouble.networks.dit import DiT, DiTConfig
from datadouble.networks.lora import add_lora, merge_lora
from datadouble.recipes.lesion.adapters import (
    AdapterFacts,
    adapter_folder,
    find_adapter,
    is_saved,
    list_adapters,
    load_adapter,
    replace_adapter,
    save_adapter,
)

TARGETS = ("qkv", "mlp_in")
BATCH = (
    torch.randn(3, 2, 8, 8),
    torch.tensor([3.0, 500.0, 900.0]),
    torch.tensor([0, 2, 1]),
    torch.randn(3, 8),
)


def base(seed: int = 0) -> DiT:
    network = DiT(
        DiTConfig(8, 2, 3, depth=2, width=32, heads=2, conditions=8), torch.Generator().manual_seed(0)
    )
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(seed + 1)))
    return network


def adapted(seed: int) -> DiT:
    network = base()
    add_lora(network, 4, targets=TARGETS, scaling=0.5)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.2, generator=random)
    return network


def facts(name: str = "benign", base: str = "b0", kind: str = "lora") -> AdapterFacts:
    return AdapterFacts(
        name, "lesion", base, kind, 4 if kind == "lora" else 0, 0.5, TARGETS, 100, {"lesions": 7}
    )


def test_saved_loaded_elsewhere_and_merged_gives_equal_outputs(tmp_path: Path) -> None:
    network = adapted(1)
    expected = network(*BATCH)
    folder = adapter_folder(tmp_path / "lesion", "benign")
    save_adapter(folder, facts(), network)
    # The factors alone: far less than the network.
    assert (folder / "adapter.safetensors").stat().st_size < 0.5 * 4 * base().parameter_count()
    elsewhere = base()
    assert not torch.allclose(elsewhere(*BATCH), expected, atol=1e-3)
    assert load_adapter(elsewhere, folder, "b0") == facts()
    torch.testing.assert_close(elsewhere(*BATCH), expected)
    merge_lora(elsewhere)
    assert elsewhere.state_dict().keys() == base().state_dict().keys()
    torch.testing.assert_close(elsewhere(*BATCH), expected, rtol=1e-4, atol=1e-5)


def test_adapters_are_swapped_on_one_base(tmp_path: Path) -> None:
    for name, seed in (("benign", 1), ("malignant", 2)):
        save_adapter(adapter_folder(tmp_path / "lesion", name), facts(name), adapted(seed))
    network = base()
    for name, seed in (("benign", 1), ("malignant", 2), ("benign", 1)):
        load_adapter(network, adapter_folder(tmp_path / "lesion", name), "b0")
        torch.testing.assert_close(network(*BATCH), adapted(seed)(*BATCH))
    assert [one.name for _, one in list_adapters(tmp_path)] == ["benign", "malignant"]
    assert find_adapter(tmp_path, "lesion/malignant")[1].name == "malignant"
    with pytest.raises(DataDoubleError, match=r"no such adapter.*benign"):
        find_adapter(tmp_path, "begnin")


def test_a_whole_network_is_an_adapter_too(tmp_path: Path) -> None:
    folder = adapter_folder(tmp_path / "lesion", "benign")
    save_adapter(folder, facts(kind="full"), base(5))
    network = base()
    load_adapter(network, folder, "b0")
    torch.testing.assert_close(network(*BATCH), base(5)(*BATCH))


def test_an_adapter_of_another_base_is_refused(tmp_path: Path) -> None:
    folder = adapter_folder(tmp_path / "lesion", "benign")
    save_adapter(folder, facts(base="other"), adapted(1))
    with pytest.raises(DataDoubleError, match=r"another base model.*base other, here b0"):
        load_adapter(base(), folder, "b0")
    with pytest.raises(DataDoubleError, match="holds no adapter"):
        load_adapter(base(), tmp_path, "b0")


def test_an_adapter_from_elsewhere_takes_a_place_and_the_old_one_is_kept(tmp_path: Path) -> None:
    here, there = adapter_folder(tmp_path / "a" / "lesion", "benign"), tmp_path / "sent"
    save_adapter(here, facts(), adapted(1))
    save_adapter(there, facts(name="theirs"), adapted(2))
    replace_adapter(here, there, "b0")
    network = base()
    assert load_adapter(network, here, "b0").name == "benign"
    torch.testing.assert_close(network(*BATCH), adapted(2)(*BATCH))
    kept = base()
    load_adapter(kept, tmp_path / "a" / "lesion" / "adapters-before" / "benign", "b0")
    torch.testing.assert_close(kept(*BATCH), adapted(1)(*BATCH))
    with pytest.raises(DataDoubleError, match="another base"):
        replace_adapter(here, there, "b1")


def test_every_class_has_a_folder_of_its_own(tmp_path: Path) -> None:
    names = ["benign", "4 a", "4/a", "良性", "恶性"]
    folders = [adapter_folder(tmp_path, name) for name in names]
    assert len(set(folders)) == len(names) and folders[0].name == "benign"
    assert all(one.parent == tmp_path / "adapters" and one.name.isascii() for one in folders)
    assert [adapter_folder(tmp_path, one.name) for one in folders] == folders


def test_a_swap_that_is_cut_off_leaves_no_mixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = adapter_folder(tmp_path / "a" / "lesion", "benign"), tmp_path / "sent"
    save_adapter(here, facts(), adapted(1))
    save_adapter(there, facts(name="theirs"), adapted(2))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(files, "write_json", killed)
        replace_adapter(here, there, "b0")
    assert not is_saved(here)  # the new factors, and not yet what they are
    assert is_saved(tmp_path / "a" / "lesion" / "adapters-before" / "benign")
