"""The reference is diffusers' own DiT: equal weights must give equal outputs, in both directions."""

import pytest
import torch

from datadouble.errors import DataDoubleError
from datadouble.networks.dit import DiT, DiTConfig
from datadouble.networks.dit_diffusers import from_diffusers, to_diffusers

diffusers = pytest.importorskip("diffusers")


def randomise(model: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Weights of a trained network's size: at the start the output is zero and would prove nothing."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def inputs(size: int = 8, channels: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    x = torch.randn(6, channels, size, size, generator=torch.Generator().manual_seed(0))
    return x, torch.tensor([0, 1, 37, 500, 998, 999]), torch.tensor([0, 1, 2, 3, 3, 0])  # 3 is the null label


@pytest.mark.parametrize("learn_sigma", [True, False])
@pytest.mark.parametrize("mlp_norm_eps", [1e-6, 1e-5])
def test_to_diffusers_gives_equal_outputs(learn_sigma: bool, mlp_norm_eps: float) -> None:
    config = DiTConfig(8, 4, 3, 2, 3, 64, 4, learn_sigma, mlp_norm_eps=mlp_norm_eps)
    ours = randomise(DiT(config), 1)
    theirs = to_diffusers(ours)
    x, timesteps, labels = inputs()
    with torch.no_grad():
        a, b = ours(x, timesteps, labels), theirs(x, timesteps, labels).sample
    assert a.shape == b.shape == (6, 8 if learn_sigma else 4, 8, 8)
    assert a.abs().max() > 0.1
    assert (a - b).abs().max() < 1e-5


def test_from_diffusers_gives_equal_outputs_and_goes_back() -> None:
    theirs = diffusers.DiTTransformer2DModel(
        num_attention_heads=4, attention_head_dim=16, in_channels=4, out_channels=8, num_layers=3,
        sample_size=8, num_embeds_ada_norm=3,
    )  # fmt: skip
    randomise(theirs, 2)
    first = theirs.transformer_blocks[0].norm1.emb.state_dict()
    for block in theirs.transformer_blocks:
        block.norm1.emb.load_state_dict(first)
    ours = from_diffusers(theirs)
    x, timesteps, labels = inputs()
    with torch.no_grad():
        assert (ours(x, timesteps, labels) - theirs(x, timesteps, labels).sample).abs().max() < 1e-5
    back = to_diffusers(ours).state_dict()
    assert back.keys() == theirs.state_dict().keys()
    assert all(torch.equal(back[name], value) for name, value in theirs.state_dict().items())


def test_unequal_copies_of_the_embeddings_are_refused() -> None:
    theirs = to_diffusers(randomise(DiT(DiTConfig(8, 4, 3, 2, 3, 64, 4)), 3))
    with torch.no_grad():
        theirs.transformer_blocks[2].norm1.emb.class_embedder.embedding_table.weight[0, 0] += 1
    with pytest.raises(DataDoubleError, match=r"transformer_blocks\.2.*class_embedder.*embeddings differ"):
        from_diffusers(theirs)


def test_another_architecture_is_refused() -> None:
    theirs = diffusers.DiTTransformer2DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=5, num_layers=1,
        sample_size=8, attention_bias=False,
    )  # fmt: skip
    with pytest.raises(DataDoubleError, match="attention_bias=False, out_channels=5"):
        from_diffusers(theirs)
    with pytest.raises(DataDoubleError, match="ratio of 4"):
        to_diffusers(DiT(DiTConfig(8, 4, 3, 2, 1, 64, 4, mlp_ratio=2.0)))
