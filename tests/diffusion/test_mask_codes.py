"""Codes for class ids: what is written comes back, and what lies between two codes is known as such."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from datadouble.diffusion.mask_codes import CODES, LadderCode, OnehotCode, make_mask_code
from datadouble.errors import DataDoubleError


@given(st.sampled_from(sorted(CODES)), st.integers(2, 9), st.integers(0, 2**31))
def test_ids_come_back_even_with_a_little_noise(name: str, classes: int, seed: int) -> None:
    code, random = make_mask_code(name, classes), torch.Generator().manual_seed(seed)
    mask = torch.randint(classes, (2, 4, 5), generator=random)
    x = code.encode(mask)
    assert x.shape == (2, code.channels, 4, 5)
    assert x.abs().max() <= 1
    exact = code.decode(x)
    assert torch.equal(exact.mask, mask)
    assert exact.ambiguity.max() < 1e-5
    noisy = code.decode(x + 0.9 / (classes - 1) * (2 * torch.rand(x.shape, generator=random) - 1))
    assert torch.equal(noisy.mask, mask)


def test_the_ladder_of_five_by_hand() -> None:
    """Levels -1, -0.5, 0, 0.5, 1: the strides are 0.5, so that a value is ambiguous by 4 times its distance."""
    code = LadderCode(5)
    assert code.encode(torch.arange(5).view(1, 1, 5)).flatten().tolist() == [-1, -0.5, 0, 0.5, 1]
    values = torch.tensor([-1.7, -0.76, -0.75, -0.4, 0.1, 0.26, 2.0]).view(1, 1, 1, 7)
    mask, ambiguity = code.decode(values)
    assert mask.flatten().tolist() == [0, 0, 1, 1, 2, 3, 4]
    assert ambiguity.flatten().tolist() == pytest.approx([0, 0.96, 1, 0.4, 0.4, 0.96, 0], abs=1e-5)


def test_onehot_by_hand() -> None:
    """Ambiguity is 1 less half the lead of the greatest channel: 0 at (1, -1), 1 where two are equal."""
    code = OnehotCode(3)
    assert code.encode(torch.tensor([[[2]]])).flatten().tolist() == [-1, -1, 1]
    x = torch.tensor([[1.0, -1, -1], [0, 0, -1], [0.6, -0.2, -1], [3, 0.5, -2]]).T.reshape(1, 3, 1, 4)
    mask, ambiguity = code.decode(x)
    assert mask.flatten()[[0, 2, 3]].tolist() == [0, 0, 0]
    assert ambiguity.flatten().tolist() == pytest.approx([0, 1, 0.6, 0.75])


def test_a_blurred_edge_passes_through_other_classes_on_the_ladder_only() -> None:
    """Half of id 0 and half of id 4 is id 2 on the ladder, a type that is not there; with onehot it is 0 or 4."""
    edge = torch.linspace(0, 1, 21).view(1, 1, 1, 21)
    found = {}
    for name in CODES:
        code = make_mask_code(name, 5)
        low, high = (code.encode(torch.full((1, 1, 21), value)) for value in (0, 4))
        found[name] = set(code.decode((1 - edge) * low + edge * high).mask.flatten().tolist())
    assert found == {"ladder": {0, 1, 2, 3, 4}, "onehot": {0, 4}}


def test_wrong_use_is_refused() -> None:
    with pytest.raises(DataDoubleError, match="besides the background"):
        make_mask_code("ladder", 1)
    with pytest.raises(DataDoubleError, match="ladder"):
        make_mask_code("lader", 3)
    with pytest.raises(DataDoubleError, match="ids 0 to 3, 3 classes"):
        make_mask_code("onehot", 3).encode(torch.arange(4).view(1, 2, 2))
