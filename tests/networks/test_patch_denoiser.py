"""The transformer between convolutions: shapes, what it is told, and that it learns across tokens."""

import pytest
import torch

from datadouble.errors import DataDoubleError
from datadouble.networks.lora import LowRank, add_lora, merge_lora
from datadouble.networks.patch_denoiser import PatchDenoiser, PatchDenoiserConfig

CONFIG = PatchDenoiserConfig(size=16, num_classes=3, conditions=5, depth=1, width=32, heads=2, detail=8)


def network(seed: int = 0) -> PatchDenoiser:
    made = PatchDenoiser(CONFIG, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for p in made.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(seed + 1)))
    return made


def batch(count: int = 2) -> tuple[torch.Tensor, ...]:
    random = torch.Generator().manual_seed(3)
    x = torch.randn(count, 2, 16, 16, generator=random)
    return x, torch.linspace(10, 900, count), torch.arange(count) % 3, torch.randn(count, 5, generator=random)


def test_it_starts_with_nothing_and_the_same_seed_gives_the_same_weights() -> None:
    first, second = (PatchDenoiser(CONFIG, torch.Generator().manual_seed(7)) for _ in range(2))
    assert not first(*batch()).any()
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_pictures_of_a_batch_do_not_see_each_other() -> None:
    made, (x, t, c, v) = network(), batch(3)
    together = made(x, t, c, v)
    for i in range(3):
        torch.testing.assert_close(together[i : i + 1], made(*(a[i : i + 1] for a in (x, t, c, v))))


def test_class_time_and_descriptor_all_count_and_null_hears_no_descriptor() -> None:
    made, (x, t, c, v) = network(), batch()
    said = made(x, t, c, v)
    for other in ((x, t + 50, c, v), (x, t, (c + 1) % 3, v), (x, t, c, v + 1)):
        assert not torch.allclose(said, made(*other))
    null = torch.full_like(c, CONFIG.null_label)
    torch.testing.assert_close(made(x, t, null, v), made(x, t, null, v + 1))


def test_a_pixel_reaches_over_its_tokens_border_and_by_attention_everywhere() -> None:
    made, (x, t, c, v) = network(), batch(1)
    changed = x.clone()
    changed[0, 0, 7, 7] += 3  # the last pixel of a token of 4
    difference = (made(changed, t, c, v) - made(x, t, c, v)).abs()[0].sum(0)
    assert difference[8, 8] > 0 and difference[0, 15] > 0


def test_adapters_go_to_the_transformers_layers() -> None:
    made = network()
    assert add_lora(made, 2, targets=("qkv", "modulation")) == 2
    assert isinstance(made.transformer.blocks[0].qkv, LowRank)
    said = made(*batch())
    merge_lora(made)
    torch.testing.assert_close(made(*batch()), said)


@pytest.mark.parametrize("wrong", [{"token": 3}, {"size": 18}, {"detail": 12}])
def test_shapes_that_do_not_fit(wrong: dict) -> None:
    with pytest.raises(DataDoubleError, match="tokens of an even side"):
        PatchDenoiserConfig(**{"size": 16, "num_classes": 2, "conditions": 0, **wrong})
