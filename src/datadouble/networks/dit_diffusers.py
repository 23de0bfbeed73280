"""Weights to and from diffusers' `DiTTransformer2DModel`, with equal outputs.

Two differences of layout: diffusers keeps a copy of the timestep and the label embedding in each block, and a
projection to modulation in each block; ours keeps one of each. The null label is the last row of the table
in both. In train mode diffusers drops labels inside `forward`; compare outputs in eval mode.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from datadouble.errors import DataDoubleError
from datadouble.networks.dit import DiT, DiTConfig

DiTTransformer2DModel = Any  # diffusers ships no types that a checker can read

EMBEDDINGS = {  # ours: diffusers' name under transformer_blocks.N.norm1.emb
    "time_in.weight": "timestep_embedder.linear_1.weight",
    "time_in.bias": "timestep_embedder.linear_1.bias",
    "time_out.weight": "timestep_embedder.linear_2.weight",
    "time_out.bias": "timestep_embedder.linear_2.bias",
    "labels.weight": "class_embedder.embedding_table.weight",
}
BLOCK = {
    "attention_out": "attn1.to_out.0",
    "mlp_in": "ff.net.0.proj",
    "mlp_out": "ff.net.2",
}
ENDS = {"patches": "pos_embed.proj", "final": "proj_out_2"}


def to_diffusers(model: DiT) -> DiTTransformer2DModel:
    """A `DiTTransformer2DModel` with copies of the weights of `model`, in eval mode, on the CPU.

    Raises
    ------
    DataDoubleError
        Where the MLP ratio is not 4, the only one that diffusers knows.
    """
    import diffusers

    config = model.config
    if config.mlp_ratio != 4.0:
        raise DataDoubleError(
            "diffusers' DiT has a fixed MLP ratio of 4",
            where="to_diffusers",
            found=str(config.mlp_ratio),
            remedy="only networks with mlp_ratio=4 can be converted",
        )
    ours = {name: value.detach().cpu() for name, value in model.state_dict().items()}
    theirs: dict[str, Tensor] = {}
    modulation = {  # rows of the stacked projection: six vectors for each block, then two for the final layer
        kind: ours[f"modulation.{kind}"].split([6 * config.width] * config.depth + [2 * config.width])
        for kind in ("weight", "bias")
    }
    for kind in ("weight", "bias"):
        for mine, yours in ENDS.items():
            theirs[f"{yours}.{kind}"] = ours[f"{mine}.{kind}"]
        theirs[f"proj_out_1.{kind}"] = modulation[kind][-1]
    for i in range(config.depth):
        block = f"transformer_blocks.{i}"
        for mine, yours in EMBEDDINGS.items():
            theirs[f"{block}.norm1.emb.{yours}"] = ours[mine]
        for kind in ("weight", "bias"):
            theirs[f"{block}.norm1.linear.{kind}"] = modulation[kind][i]
            for mine, yours in BLOCK.items():
                theirs[f"{block}.{yours}.{kind}"] = ours[f"blocks.{i}.{mine}.{kind}"]
            parts = ours[f"blocks.{i}.qkv.{kind}"].chunk(3)
            for name, part in zip(("to_q", "to_k", "to_v"), parts, strict=True):
                theirs[f"{block}.attn1.{name}.{kind}"] = part
    result: Any = diffusers.DiTTransformer2DModel(
        num_attention_heads=config.heads,
        attention_head_dim=config.width // config.heads,
        in_channels=config.in_channels,
        out_channels=config.out_channels,
        num_layers=config.depth,
        sample_size=config.input_size,
        patch_size=config.patch_size,
        num_embeds_ada_norm=config.num_classes,
        norm_eps=config.mlp_norm_eps,
    )
    result.load_state_dict(theirs)
    return result.to(ours["final.weight"].dtype).eval()


def from_diffusers(model: DiTTransformer2DModel) -> DiT:
    """A `DiT` with copies of the weights of `model`, in eval mode, on the CPU.

    Raises
    ------
    DataDoubleError
        Where the architecture is not DiT's, or the blocks' copies of the timestep and label embeddings
        differ (as they do after training with diffusers, which trains each copy alone): one cannot stand for
        all.
    """
    config = _config_of(model)
    theirs = {name: value.detach().cpu() for name, value in model.state_dict().items()}
    ours: dict[str, Tensor] = {}
    blocks = [f"transformer_blocks.{i}" for i in range(config.depth)]
    for mine, yours in EMBEDDINGS.items():
        ours[mine] = theirs[f"{blocks[0]}.norm1.emb.{yours}"]
        for block in blocks[1:]:
            if not torch.equal(ours[mine], theirs[f"{block}.norm1.emb.{yours}"]):
                raise DataDoubleError(
                    "the blocks' timestep or label embeddings differ, ours has one for all",
                    where=f"from_diffusers, {block}.norm1.emb.{yours}",
                    found="weights unlike those of block 0",
                    remedy="convert weights trained with one embedding, such as the published DiT-XL/2",
                )
    for kind in ("weight", "bias"):
        for mine, yours in ENDS.items():
            ours[f"{mine}.{kind}"] = theirs[f"{yours}.{kind}"]
        rows = [theirs[f"{block}.norm1.linear.{kind}"] for block in blocks]
        ours[f"modulation.{kind}"] = torch.cat([*rows, theirs[f"proj_out_1.{kind}"]])
        for i, block in enumerate(blocks):
            parts = [theirs[f"{block}.attn1.{name}.{kind}"] for name in ("to_q", "to_k", "to_v")]
            ours[f"blocks.{i}.qkv.{kind}"] = torch.cat(parts)
            for mine, yours in BLOCK.items():
                ours[f"blocks.{i}.{mine}.{kind}"] = theirs[f"{block}.{yours}.{kind}"]
    result = DiT(config).to(ours["final.weight"].dtype)
    result.load_state_dict(ours)
    return result.eval()


def _config_of(model: DiTTransformer2DModel) -> DiTConfig:
    theirs = model.config
    channels, out = theirs.in_channels, model.out_channels
    expected = {
        "attention_bias": True,
        "norm_elementwise_affine": False,
        "activation_fn": "gelu-approximate",
        "norm_type": "ada_norm_zero",
    }
    wrong = [f"{name}={theirs[name]}" for name, value in expected.items() if theirs[name] != value]
    if out not in (channels, 2 * channels):
        wrong.append(f"out_channels={out} for in_channels={channels}")
    if wrong:
        raise DataDoubleError(
            "this is not the DiT architecture",
            where="from_diffusers",
            found=", ".join(wrong),
            remedy="convert a DiTTransformer2DModel with diffusers' default settings",
        )
    return DiTConfig(
        input_size=theirs.sample_size,
        in_channels=channels,
        num_classes=theirs.num_embeds_ada_norm,
        patch_size=theirs.patch_size,
        depth=theirs.num_layers,
        width=theirs.num_attention_heads * theirs.attention_head_dim,
        heads=theirs.num_attention_heads,
        learn_sigma=out == 2 * channels,
        mlp_norm_eps=theirs.norm_eps,
    )
