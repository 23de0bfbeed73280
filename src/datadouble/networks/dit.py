"""Diffusion transformer (DiT) with adaLN-Zero conditioning, Peebles and Xie, ICCV 2023 (arXiv:2212.09748).

The network that CoLDiT trains: latents are cut into patches, the timestep and the class steer every block
through shifts, scales and gates ("modulation"). Three choices make it quick without changing what it
computes: the modulation of all blocks is one matrix product, its rows can be kept over the steps of a sampler
(`ModulationCache`), and rows that many pictures share are never copied.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from datadouble.errors import DataDoubleError, suggest

FREQUENCIES = 256  # width of the sinusoidal timestep embedding, as in the paper's code
NORM_EPS = 1e-6


@dataclass(frozen=True)
class DiTConfig:
    """Everything that fixes the architecture.

    Attributes
    ----------
    input_size : side of the square latents the network is trained on (other sizes work: positions
        interpolate).
    in_channels : latent channels.
    num_classes : number of classes; label `num_classes` is the null label of classifier-free guidance.
    learn_sigma : the output has 2 x in_channels channels: the prediction, then the variance's interpolation.
    class_dropout : chance with which the *training loop* passes the null label; the network drops nothing
        itself.
    mlp_norm_eps : epsilon of the norm before each MLP; diffusers' published weights were run with 1e-5.
    conditions : width of a vector that steers beside the class, 0 for none.
    """

    input_size: int
    in_channels: int
    num_classes: int
    patch_size: int = 2
    depth: int = 12
    width: int = 384
    heads: int = 6
    learn_sigma: bool = True
    mlp_ratio: float = 4.0
    class_dropout: float = 0.1
    mlp_norm_eps: float = NORM_EPS
    conditions: int = 0

    def __post_init__(self) -> None:
        if self.width % self.heads or self.width % 4:
            raise DataDoubleError(
                "the transformer's width must be a multiple of 4 and of the number of heads",
                where="DiTConfig",
                found=f"width {self.width}, heads {self.heads}",
                remedy=f"for example width {64 * self.heads}",
            )
        if self.input_size % self.patch_size:
            raise DataDoubleError(
                "the latents' side must be a multiple of the patch size",
                where="DiTConfig",
                found=f"side {self.input_size}, patch {self.patch_size}",
                remedy="choose a smaller patch or another image size",
            )

    @property
    def null_label(self) -> int:
        return self.num_classes

    @property
    def out_channels(self) -> int:
        return self.in_channels * (2 if self.learn_sigma else 1)

    @property
    def modulation_width(self) -> int:
        return (6 * self.depth + 2) * self.width  # six vectors a block, two for the final layer


# name: (depth, width, heads, patch). S to XL are the paper's table 1; T and M are ours, for tests and CPUs.
DIT_SIZES: dict[str, tuple[int, int, int, int]] = {
    "T/2": (4, 128, 4, 2),  # 1.3 M parameters: tests and the demo
    "M/2": (10, 320, 5, 2),  # 18.9 M parameters: an hour on two cores at 16x16 latents
} | {
    f"{name}/{patch}": (depth, width, heads, patch)
    for name, depth, width, heads in (
        ("S", 12, 384, 6),
        ("B", 12, 768, 12),
        ("L", 24, 1024, 16),
        ("XL", 28, 1152, 16),
    )
    for patch in (2, 4, 8)
}


def dit_config(
    size: str, *, input_size: int, in_channels: int, num_classes: int, learn_sigma: bool = True
) -> DiTConfig:
    """Configuration of a named size, such as "S/2" (see `DIT_SIZES`)."""
    if size not in DIT_SIZES:
        raise DataDoubleError("unknown DiT size", found=size, remedy=suggest(size, list(DIT_SIZES)))
    depth, width, heads, patch = DIT_SIZES[size]
    return DiTConfig(input_size, in_channels, num_classes, patch, depth, width, heads, learn_sigma)


def timestep_frequencies(timesteps: Tensor) -> Tensor:
    """Sinusoidal embedding of `timesteps` (b,), integer or fractional, as (b, 256) float32: cosines, then
    sines.

    Frequencies fall from 1 to 1/10000 with both ends included, as in diffusers.
    """
    half = FREQUENCIES // 2
    exponents = torch.arange(half, device=timesteps.device, dtype=torch.float32) / (half - 1)
    angles = timesteps.float()[:, None] * torch.exp(-math.log(10000.0) * exponents)  # (b, 128)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def position_table(width: int, rows: int, columns: int, trained_side: int) -> Tensor:
    """Fixed 2-D sine-cosine positions (rows * columns, width), float32: columns in the first half of the
    width.

    Coordinates are stretched so that any grid spans what the `trained_side` grid spanned in training.
    """
    frequencies = 10000.0 ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    x = torch.arange(columns, dtype=torch.float64) * (trained_side / columns)
    y = torch.arange(rows, dtype=torch.float64) * (trained_side / rows)
    angles_x = (x[:, None] * frequencies).expand(rows, columns, -1)
    angles_y = (y[:, None] * frequencies)[:, None].expand(rows, columns, -1)
    table = torch.cat([angles_x.sin(), angles_x.cos(), angles_y.sin(), angles_y.cos()], dim=-1)
    return table.reshape(rows * columns, width).float()


def modulated_norm(x: Tensor, shift: Tensor, scale: Tensor, eps: float = NORM_EPS) -> Tensor:
    """Layer norm of x (g, n, d), then * (1 + scale) + shift, both (g, 1, d)."""
    width = x.shape[-1:]
    if (
        shift.shape[0] == 1 and not torch.is_grad_enabled()
    ):  # shared by the whole batch: the norm's own weights
        return F.layer_norm(x, width, (1 + scale).flatten(), shift.flatten(), eps)
    return torch.addcmul(shift, F.layer_norm(x, width, eps=eps), 1 + scale)


class Block(nn.Module):
    """Attention and MLP, each behind a modulated norm and added back through a gate."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        width, hidden = config.width, int(config.width * config.mlp_ratio)
        self.heads, self.mlp_norm_eps = config.heads, config.mlp_norm_eps
        self.qkv = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.mlp_in = nn.Linear(width, hidden)
        self.mlp_out = nn.Linear(hidden, width)

    def forward(self, x: Tensor, modulation: Tensor, batch: int) -> Tensor:
        # x (g, n, d): g groups that share a row of modulation (g, 6, d); n = pictures of a group x tokens
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = modulation.split(1, dim=1)  # each (g, 1, d)
        x = torch.addcmul(x, gate_a, self.attention(modulated_norm(x, shift_a, scale_a), batch).to(x.dtype))
        h = self.mlp_in(modulated_norm(x, shift_m, scale_m, self.mlp_norm_eps).to(self.mlp_in.weight.dtype))
        h = self.mlp_out(F.gelu(h, approximate="tanh"))
        return torch.addcmul(x, gate_m, h.to(x.dtype))

    def attention(self, x: Tensor, batch: int) -> Tensor:
        shape = (batch, -1, self.heads, x.shape[-1] // self.heads)
        qkv = self.qkv(x.to(self.qkv.weight.dtype)).chunk(3, dim=-1)
        q, k, v = (part.reshape(shape).transpose(1, 2) for part in qkv)  # (b, heads, tokens, d / heads)
        h = F.scaled_dot_product_attention(q, k, v)
        return self.attention_out(h.transpose(1, 2).reshape(x.shape))


class DiT(nn.Module):
    """Class-conditional diffusion transformer over latents.

    The output is exactly zero at the start: the stacked modulation and the last projection start at zero.
    S/2 has 32,482,976 trained parameters at 4 channels and 5 classes; the figure of 32,876,192 in the
    literature counts the fixed position table (1024 x 384) too: see `parameter_count`.

    Parameters
    ----------
    config : the architecture.
    generator : source of the initial weights; None takes torch's global one.
    """

    position: Tensor

    def __init__(self, config: DiTConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        width, patch = config.width, config.patch_size
        self.patches = nn.Conv2d(config.in_channels, width, patch, stride=patch)
        self.time_in = nn.Linear(FREQUENCIES, width)
        self.time_out = nn.Linear(width, width)
        self.labels = nn.Embedding(config.num_classes + 1, width)
        if config.conditions:
            self.condition_in = nn.Linear(config.conditions, width)
            self.condition_out = nn.Linear(width, width)
        self.modulation = nn.Linear(width, config.modulation_width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.final = nn.Linear(width, patch * patch * config.out_channels)
        side = config.input_size // patch
        self.register_buffer("position", position_table(width, side, side, side), persistent=False)
        self.initialise(generator)

    def initialise(self, generator: torch.Generator | None = None) -> None:
        """Draw the weights: Xavier for projections, N(0, 0.02) for embeddings, zero where adaLN-Zero asks."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight, generator=generator)
                nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.patches.weight.view(self.config.width, -1), generator=generator)
        if self.patches.bias is not None:
            nn.init.zeros_(self.patches.bias)
        for weight in (self.labels.weight, self.time_in.weight, self.time_out.weight):
            nn.init.normal_(weight, std=0.02, generator=generator)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.final.weight)

    def parameter_count(self, include_positions: bool = False) -> int:
        """Trained parameters; with the fixed position table where published figures count it."""
        return sum(p.numel() for p in self.parameters()) + include_positions * self.position.numel()

    def forward(
        self, x: Tensor, timesteps: Tensor, labels: Tensor, conditions: Tensor | None = None
    ) -> Tensor:
        """Predict the noise (or the velocity) in `x`.

        Parameters
        ----------
        x : (b, c, h, w) noisy latents; h and w are multiples of the patch size.
        timesteps : (b,) in [0, 1000], integer or fractional.
        labels : (b,) int64 in [0, num_classes]; num_classes is the null label.
        conditions : (b, `config.conditions`) about unit variance, needed where that is not 0. A picture with the
            null label is told nothing of them.

        Returns
        -------
        (b, c, h, w), or (b, 2 c, h, w) with `learn_sigma`.
        """
        return self.denoise(x, self.modulations(timesteps, labels, conditions))

    def modulations(self, timesteps: Tensor, labels: Tensor, conditions: Tensor | None = None) -> Tensor:
        """Shifts, scales and gates of all blocks and the final layer: (b, (6 depth + 2) width)."""
        conditioning = self.conditioning(timesteps, labels, conditions)
        return self.modulation(F.silu(conditioning).to(self.modulation.weight.dtype))

    def conditioning(self, timesteps: Tensor, labels: Tensor, conditions: Tensor | None = None) -> Tensor:
        """What is told of each picture, before the blocks' own projections: (b, width), float32."""
        t = self.time_in(timestep_frequencies(timesteps).to(self.time_in.weight.dtype))
        conditioning = self.time_out(F.silu(t)).float() + self.labels(labels).float()
        if self.config.conditions:
            conditioning = conditioning + self._told(labels, conditions)
        return conditioning

    def _told(self, labels: Tensor, conditions: Tensor | None) -> Tensor:
        """What the vector adds to the class: (b, d), zero under the null label."""
        wanted = (len(labels), self.config.conditions)
        if conditions is None or tuple(conditions.shape) != wanted:
            raise DataDoubleError(
                "the network was built with conditions beside the class",
                where="DiT",
                found="none" if conditions is None else f"shape {tuple(conditions.shape)}",
                remedy=f"pass them as (b, {wanted[1]})",
            )
        h = F.silu(self.condition_in(conditions.to(self.condition_in.weight.dtype)))
        known = (labels != self.config.null_label)[:, None]
        return self.condition_out(h).float() * known

    def denoise(self, x: Tensor, modulations: Tensor) -> Tensor:
        """`forward` with the modulation at hand.

        Parameters
        ----------
        x : (b, c, h, w).
        modulations : (g, (6 depth + 2) width) from `modulations`; g divides b, and row i serves the i-th run
            of b / g pictures. Sampling by class needs one or two rows for a whole batch.
        """
        c = self.config
        batch, height, width = x.shape[0], x.shape[2] // c.patch_size, x.shape[3] // c.patch_size
        groups, d = modulations.shape[0], c.width
        h = self.patches(x.to(self.patches.weight.dtype)).flatten(2).transpose(1, 2)  # (b, tokens, d)
        h = h + self.positions(height, width)  # float32 residual stream, also under bf16 autocast
        h = h.reshape(groups, -1, d)  # (g, b / g * tokens, d): rows of modulation broadcast, never copied
        rows = modulations.to(h.dtype).view(groups, -1, d).split([6] * c.depth + [2], dim=1)
        for block, row in zip(self.blocks, rows, strict=False):
            h = block(h, row, batch)
        h = modulated_norm(h, rows[-1][:, :1], rows[-1][:, 1:])
        h = self.final(h.to(self.final.weight.dtype))  # (g, n, p p c')
        h = h.view(batch, height, width, c.patch_size, c.patch_size, c.out_channels)
        h = h.permute(0, 5, 1, 3, 2, 4)  # (b, c', height, p, width, p)
        return h.reshape(batch, c.out_channels, height * c.patch_size, width * c.patch_size)

    def positions(self, rows: int, columns: int) -> Tensor:
        side = self.config.input_size // self.config.patch_size
        if (rows, columns) == (side, side):
            return self.position
        return position_table(self.config.width, rows, columns, side).to(self.position)


class ModulationCache:
    """A DiT as the function `(x, timesteps, labels) -> prediction` that a sampler calls, with modulation
    kept.

    Rows are computed once for each (timestep, label) and shared by runs of equal ones in the batch: a batch
    of one class needs one row a step, with classifier-free guidance two, whatever its size. For inference
    only; make a new one when the weights change.

    Parameters
    ----------
    model : the network, in eval mode on its device, weights in any dtype.
    denoise : what to call instead of `model.denoise`, such as its compiled form.
    max_rows : rows kept before the cache starts afresh (S/2: 114 kB a row).
    """

    def __init__(
        self, model: DiT, denoise: Callable[[Tensor, Tensor], Tensor] | None = None, max_rows: int = 1024
    ) -> None:
        self.model, self.max_rows = model, max_rows
        self.denoise = denoise or model.denoise
        self.rows: dict[tuple[tuple[float, int], ...], Tensor] = {}
        self.stored = 0

    @torch.no_grad()
    def __call__(self, x: Tensor, timesteps: Tensor, labels: Tensor) -> Tensor:
        keys = list(zip(timesteps.tolist(), labels.tolist(), strict=True))
        run = math.gcd(*(len(list(same)) for _, same in groupby(keys)))  # longest run that tiles the batch
        wanted = tuple(keys[::run])
        if wanted not in self.rows:
            if self.stored + len(wanted) > self.max_rows:
                self.rows, self.stored = {}, 0
            self.rows[wanted] = self.model.modulations(timesteps[::run], labels[::run])
            self.stored += len(wanted)
        return self.denoise(x, self.rows[wanted])
