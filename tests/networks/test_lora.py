"""Adapters: nothing at first, foldable at the end, and what peft computes in between."""

import pytest
import torch
from torch import nn

from datadouble.errors import DataDoubleError
from datadouble.networks.dit import DiT, DiTConfig
from datadouble.networks.lora import (
    LowRank,
    LowRankConv2d,
    adapter_weights,
    add_lora,
    merge_lora,
    merged_state,
    swap_adapter,
)


def dit() -> DiT:
    network = DiT(DiTConfig(8, 4, 3, depth=1, width=32, heads=2), torch.Generator().manual_seed(0))
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
    return network


BATCH = (torch.randn(2, 4, 8, 8), torch.tensor([3.0, 500.0]), torch.tensor([0, 2]))


def test_an_adapter_changes_nothing_at_first_and_folds_into_the_plain_network() -> None:
    plain, adapted = dit(), dit()
    assert add_lora(adapted, 4, skip=("final",)) == 7
    torch.testing.assert_close(adapted(*BATCH), plain(*BATCH))
    assert isinstance(adapted.final, nn.Linear) and isinstance(adapted.modulation, LowRank)
    assert all(("down" in n or "up" in n) == p.requires_grad for n, p in adapted.named_parameters())
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if ".up." in name:
                parameter.normal_(std=0.1)
    state = merged_state(adapted, adapted.state_dict())
    assert set(state) == set(plain.state_dict())
    assert not torch.allclose(adapted(*BATCH), plain(*BATCH), atol=1e-3)
    plain.load_state_dict(state)
    torch.testing.assert_close(adapted(*BATCH), plain(*BATCH), rtol=1e-4, atol=1e-5)


def test_it_computes_what_peft_computes() -> None:
    peft = pytest.importorskip("peft")
    base = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4))
    ours = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4))
    ours.load_state_dict(base.state_dict())
    add_lora(ours, 3, scaling=2.0)
    config = peft.LoraConfig(r=3, lora_alpha=6, target_modules=["0", "2"])
    theirs = peft.inject_adapter_in_model(config, base)
    for place in (0, 2):
        layer = theirs[place]
        with torch.no_grad():
            layer.lora_B["default"].weight.normal_()
            ours[place].down.weight.copy_(layer.lora_A["default"].weight)  # type: ignore[union-attr,operator]
            ours[place].up.weight.copy_(layer.lora_B["default"].weight)  # type: ignore[union-attr,operator]
    x = torch.randn(7, 6)
    torch.testing.assert_close(ours(x), theirs(x))


def test_wrong_use() -> None:
    with pytest.raises(DataDoubleError, match="rank"):
        add_lora(dit(), 0)
    with pytest.raises(DataDoubleError, match="no linear layer"):
        add_lora(nn.Sequential(nn.Conv2d(1, 1, 3)), 2)


def test_targets_choose_layers_and_those_that_exist_are_told() -> None:
    network = dit()
    assert add_lora(network, 2, targets=("qkv", "mlp_out")) == 2
    assert isinstance(network.blocks[0].qkv, LowRank) and isinstance(network.blocks[0].mlp_in, nn.Linear)
    untouched = dit()
    with pytest.raises(DataDoubleError, match="no such layers") as error:
        add_lora(untouched, 2, targets=("qkv", "to_q"))
    assert "to_q" in str(error.value) and "attention_out, mlp_in, mlp_out" in str(error.value)
    assert all(p.requires_grad for p in untouched.parameters())  # nothing was frozen before it failed
    with pytest.raises(DataDoubleError, match="adapters already"):
        add_lora(network, 2)


def test_adapters_are_swapped_and_folded_in_place() -> None:
    first, second = dit(), dit()
    for network, seed in ((first, 1), (second, 2)):
        add_lora(network, 3, targets=("qkv", "final"), scaling=0.5)
        random = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for p in network.parameters():
                if p.requires_grad:
                    p.normal_(std=0.2, generator=random)
    swap_adapter(first, adapter_weights(second))
    torch.testing.assert_close(first(*BATCH), second(*BATCH))
    assert merge_lora(first) == 2
    assert not any(isinstance(m, LowRank) for m in first.modules())
    torch.testing.assert_close(first(*BATCH), second(*BATCH), rtol=1e-4, atol=1e-5)


def test_an_adapter_of_another_shape_is_refused() -> None:
    network, other = dit(), dit()
    add_lora(network, 3, targets=("qkv",))
    add_lora(other, 2, targets=("qkv",))
    with pytest.raises(DataDoubleError, match="does not fit"):
        swap_adapter(network, adapter_weights(other))
    with pytest.raises(DataDoubleError, match="no adapters"):
        swap_adapter(dit(), adapter_weights(other))


def convolutions() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, stride=2, padding=1),
        nn.SiLU(),
        nn.Conv2d(6, 4, (1, 3), padding=(0, 1), dilation=1, bias=False),
        nn.Flatten(),
        nn.Linear(64, 3),
    )


def stir(adapted: nn.Module) -> None:
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if ".up." in name:
                parameter.normal_(std=0.3, generator=torch.Generator().manual_seed(len(name)))


X = torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(3))


def test_beside_convolutions_it_changes_nothing_at_first_and_folds() -> None:
    plain, adapted = convolutions(), convolutions()
    assert add_lora(adapted, 2, convolutions=True) == 3
    assert [type(adapted[i]) for i in (0, 2, 4)] == [LowRankConv2d, LowRankConv2d, LowRank]
    assert torch.equal(adapted(X), plain(X))
    trained = {name for name, p in adapted.named_parameters() if p.requires_grad}
    assert trained == {f"{i}.{factor}.weight" for i in (0, 2, 4) for factor in ("down", "up")}
    stir(adapted)
    answers = adapted(X)
    assert not torch.allclose(answers, plain(X), atol=1e-2)
    plain.load_state_dict(merged_state(adapted, adapted.state_dict()))
    torch.testing.assert_close(plain(X), answers)
    other = convolutions()
    add_lora(other, 2, convolutions=True)
    swap_adapter(other, adapter_weights(adapted))
    assert torch.equal(other(X), answers)
    assert merge_lora(other) == 3
    assert {type(m) for m in other} == {nn.Conv2d, nn.SiLU, nn.Flatten, nn.Linear}
    torch.testing.assert_close(other(X), answers)


def test_beside_convolutions_it_computes_what_peft_computes() -> None:
    peft = pytest.importorskip("peft")
    ours = convolutions()
    add_lora(ours, 3, scaling=2.0, convolutions=True)
    config = peft.LoraConfig(r=3, lora_alpha=6, target_modules=["0", "2", "4"])
    theirs = peft.inject_adapter_in_model(config, convolutions())
    for place in (0, 2, 4):
        layer = theirs[place]
        with torch.no_grad():
            layer.lora_B["default"].weight.normal_()
            ours[place].down.weight.copy_(layer.lora_A["default"].weight)  # type: ignore[union-attr,operator]
            ours[place].up.weight.copy_(layer.lora_B["default"].weight)  # type: ignore[union-attr,operator]
    torch.testing.assert_close(ours(X), theirs(X))
    # and folded: peft's merged weights are ours
    theirs[0].merge()
    state = merged_state(ours, ours.state_dict())
    torch.testing.assert_close(state["0.weight"], theirs[0].base_layer.weight.detach())


def test_targets_choose_convolutions_and_unknown_ones_are_named() -> None:
    adapted = nn.ModuleDict({"one": convolutions(), "two": convolutions()})
    assert add_lora(adapted, 2, targets=["one.0"], convolutions=True) == 1
    assert isinstance(adapted["one"][0], LowRankConv2d) and isinstance(adapted["two"][0], nn.Conv2d)
    plain = nn.ModuleDict({"mouth": nn.Linear(3, 3), "ear": nn.Conv2d(1, 1, 1)})
    with pytest.raises(DataDoubleError, match="mouth, ear"):
        add_lora(plain, 2, targets=["nose"], convolutions=True)
    assert all(p.requires_grad for p in plain.parameters())
    with pytest.raises(DataDoubleError, match="adapters already"):
        add_lora(adapted, 2, convolutions=True)
    with pytest.raises(DataDoubleError, match="no layer"):
        add_lora(nn.Conv2d(4, 4, 3, groups=4), 1, convolutions=True)
    with pytest.raises(DataDoubleError, match="rank"):
        add_lora(plain, 0, convolutions=True)
