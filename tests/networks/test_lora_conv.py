"""Adapters beside convolutions, of networks/lora.py: nothing at first, foldable, swappable, and what peft computes."""

import pytest
import torch
from torch import nn

from datadouble.errors import DataDoubleError
from datadouble.networks.lora import (
    LowRank,
    LowRankConv2d,
    adapter_weights,
    add_lora,
    merge_lora,
    merged_state,
    swap_adapter,
)


def network() -> nn.Sequential:
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


def test_an_adapter_changes_nothing_at_first_and_folds_into_the_plain_network() -> None:
    plain, adapted = network(), network()
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
    other = network()
    add_lora(other, 2, convolutions=True)
    swap_adapter(other, adapter_weights(adapted))
    assert torch.equal(other(X), answers)
    assert merge_lora(other) == 3
    assert {type(m) for m in other} == {nn.Conv2d, nn.SiLU, nn.Flatten, nn.Linear}
    torch.testing.assert_close(other(X), answers)


def test_it_computes_what_peft_computes() -> None:
    peft = pytest.importorskip("peft")
    ours = network()
    add_lora(ours, 3, scaling=2.0, convolutions=True)
    config = peft.LoraConfig(r=3, lora_alpha=6, target_modules=["0", "2", "4"])
    theirs = peft.inject_adapter_in_model(config, network())
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


def test_targets_choose_layers_and_unknown_ones_are_named() -> None:
    adapted = nn.ModuleDict({"one": network(), "two": network()})
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
