"""Stage 1 as the paper has it: Stable Diffusion draws lesions from a prompt, low-rank adapters teach it ultrasound.

Any Stable Diffusion in diffusers' layout, from a local folder; nothing is fetched. It knows the class and nothing else
of a lesion, and it draws no mask: the mask is what a segmenter finds in the drawn patch, the network of `verify`
trained on real patches instead of scans. Rank 4 on the attention's projections and 240 px are the paper's. A crop is
cut from pictures at `data.size`: choose that large enough, or the crops are enlarged and what is drawn is blurred.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from datadouble import files
from datadouble.diffusion.guidance import Guidance
from datadouble.diffusion.objectives import EpsilonObjective
from datadouble.diffusion.samplers import sample
from datadouble.diffusion.schedules import NoiseSchedule
from datadouble.errors import DataDoubleError
from datadouble.networks.lora import adapter_weights, add_lora, swap_adapter
from datadouble.randomness import torch_generator_for
from datadouble.recipes.drawing import noise_from
from datadouble.training.loop import TrainingOptions


@dataclass(frozen=True)
class StableDiffusionOptions(TrainingOptions):
    """How Stable Diffusion is fine-tuned and drawn from; the training options are the adapters'."""

    folder: str = ""  # with unet/, vae/, text_encoder/, tokenizer/ and scheduler/
    prompt: str = "ultrasound image of a {label} breast lesion"
    rank: int = 4
    targets: tuple[str, ...] = ("to_q", "to_k", "to_v", "to_out.0")
    side: int = 240  # pixels at which it draws
    class_dropout: float = 0.1  # share of crops with an empty prompt
    sampler: str = "dpmpp"
    steps: int = 25
    guidance_weight: float = 6.5  # w; diffusers' guidance_scale is 1 + w
    segmenter_images: int = 6_000
    segmenter_width: int = 16
    segmenter_levels: int = 4


class StableDiffusion(NamedTuple):
    """The parts of a folder.

    Attributes
    ----------
    prompts
        Embeddings of the classes' prompts and, last, of the empty one: float32 (classes + 1, tokens, d).
    schedule
        Its noise schedule.
    fingerprint
        Of the U-Net's weights: what adapters are tied to.
    """

    unet: nn.Module
    vae: nn.Module
    prompts: Tensor
    schedule: NoiseSchedule
    fingerprint: str

    @property
    def channels(self) -> int:
        """Of the latents."""
        return int(self.vae.config.latent_channels)  # type: ignore[union-attr, arg-type]

    @property
    def factor(self) -> int:
        """Pixels a latent stands for, along each side."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))  # type: ignore[union-attr, arg-type]

    def encode(self, images: np.ndarray) -> Tensor:
        """Return mean and standard deviation of the latents of uint8 (n, s, s): (n, 2, c, h, w)."""
        x = torch.from_numpy(images.astype(np.float32))[:, None].expand(-1, 3, -1, -1) / 127.5 - 1
        with torch.no_grad():
            found = self.vae.encode(x.to(_device_of(self.vae))).latent_dist  # type: ignore[operator]
        return (torch.stack([found.mean, found.std], dim=1) * self._scale).cpu()

    def decode(self, latents: Tensor) -> np.ndarray:
        """Return pictures uint8 (n, s, s): the mean of the three colours."""
        with torch.no_grad():
            colour = self.vae.decode(latents / self._scale).sample.float()  # type: ignore[operator]
        grey = (colour.mean(dim=1).clamp(-1, 1) + 1) * 127.5
        return grey.round().to(torch.uint8).cpu().numpy()

    @property
    def _scale(self) -> float:
        return float(self.vae.config.scaling_factor)  # type: ignore[union-attr, arg-type]


def _device_of(network: nn.Module) -> torch.device:
    return next(network.parameters()).device


def read_stable_diffusion(options: StableDiffusionOptions, classes: Sequence[str]) -> StableDiffusion:
    """Read a local folder and the prompts' embeddings; the text encoder is not kept.

    Raises
    ------
    DataDoubleError
        When transformers or diffusers are missing, the folder or a part of it is, the model predicts something else
        than the noise, or `side` does not suit its autoencoder.
    """
    try:
        from diffusers import AutoencoderKL, UNet2DConditionModel
        from transformers import CLIPTextModel, CLIPTokenizer
    except (ImportError, RuntimeError) as error:
        raise DataDoubleError(
            "Stable Diffusion needs transformers and diffusers, and one cannot be imported",
            where="lesion, Stable Diffusion",
            found=str(error)[:120],
            remedy="pip install 'datadouble[models]'; remove torchvision where it does not fit torch",
        ) from error
    folder = Path(options.folder)
    needed = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
    absent = [name for name in needed if not (folder / name).is_dir()]
    if not options.folder or absent:
        raise DataDoubleError(
            "this is no Stable Diffusion in diffusers' layout",
            where=folder.name if options.folder else "stable_diffusion.folder",
            found=f"no {', '.join(absent)}" if options.folder else "nothing",
            remedy=f"give a local folder with {', '.join(needed)}",
        )
    schedule = _read_schedule(folder / "scheduler" / "scheduler_config.json")
    try:
        unet = UNet2DConditionModel.from_pretrained(
            folder / "unet", local_files_only=True, use_safetensors=True
        )
        vae = AutoencoderKL.from_pretrained(folder / "vae", local_files_only=True, use_safetensors=True)
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        text = CLIPTextModel.from_pretrained(
            folder / "text_encoder", local_files_only=True, use_safetensors=True
        )
    except (OSError, ValueError) as error:
        raise DataDoubleError(
            "a part of Stable Diffusion cannot be loaded",
            where=folder.name,
            found=str(error).replace(str(folder), folder.name)[:160],
            remedy="each part needs its configuration and .safetensors weights; pickled weights are not read",
        ) from error
    texts = [*(options.prompt.format(label=name) for name in classes), ""]
    tokens = tokenizer(
        texts,
        padding="max_length",
        max_length=text.config.max_position_embeddings,
        truncation=True,
        return_tensors="pt",
    )
    with torch.no_grad():
        prompts = text.eval()(tokens.input_ids).last_hidden_state.float()
    digest = (v.detach().float().cpu().contiguous().numpy().tobytes() for v in unet.state_dict().values())
    found = StableDiffusion(
        unet.eval(), vae.eval().requires_grad_(False), prompts, schedule, files.fingerprint(*digest)
    )
    if options.side % found.factor:
        raise DataDoubleError(
            f"the autoencoder needs a multiple of {found.factor}",
            where="stable_diffusion.side",
            found=str(options.side),
        )
    return found


def _read_schedule(path: Path) -> NoiseSchedule:
    """The noise schedule that a folder's `scheduler_config.json` names."""
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataDoubleError("the noise schedule cannot be read", where=path.name) from error
    steps, start, end = values["num_train_timesteps"], values["beta_start"], values["beta_end"]
    if values.get("prediction_type", "epsilon") != "epsilon":
        raise DataDoubleError(
            "only models that predict the noise can be fine-tuned",
            where=path.name,
            found=str(values["prediction_type"]),
            remedy="use Stable Diffusion 1.x, or 2.x base",
        )
    kind = values.get("beta_schedule", "linear")
    if kind == "scaled_linear":  # evenly spaced roots: what Stable Diffusion was trained with
        return NoiseSchedule(kind, np.linspace(start**0.5, end**0.5, steps, dtype=np.float64) ** 2)
    if kind == "linear":
        return NoiseSchedule(kind, np.linspace(start, end, steps, dtype=np.float64))
    raise DataDoubleError("unknown noise schedule", where=path.name, found=str(kind))


class PromptedUNet(nn.Module):
    """The U-Net as a function of (x, timesteps, labels); all that is saved of it are its adapters.

    A copy of 860 million frozen weights in each checkpoint would serve nobody.
    """

    def __init__(self, unet: nn.Module, prompts: Tensor) -> None:
        super().__init__()
        self.unet = unet
        self.register_buffer("prompts", prompts, persistent=False)

    def forward(self, x: Tensor, timesteps: Tensor, labels: Tensor) -> Tensor:
        """Predict the noise in (b, c, h, w); the last label is the empty prompt."""
        prompts = self.get_buffer("prompts")[labels]
        return self.unet(x, timesteps, encoder_hidden_states=prompts).sample

    def state_dict(  # type: ignore[override]
        self, *, destination: Any = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Tensor]:
        """Return the adapters' factors."""
        return adapter_weights(self.unet)

    def load_state_dict(
        self, state_dict: Mapping[str, Tensor], strict: bool = True, assign: bool = False
    ) -> None:
        """Put other factors in."""
        swap_adapter(self.unet, dict(state_dict))


def adapted(model: StableDiffusion, options: StableDiffusionOptions) -> PromptedUNet:
    """Return the U-Net with fresh adapters, everything else frozen."""
    add_lora(
        model.unet,
        options.rank,
        targets=options.targets,
        generator=torch_generator_for(options.seed, "stable-diffusion-adapter"),
    )
    return PromptedUNet(model.unet, model.prompts)


@torch.no_grad()
def draw_crops(
    model: StableDiffusion,
    network: nn.Module,
    labels: np.ndarray,
    seeds: Sequence[int],
    options: StableDiffusionOptions,
    device: torch.device,
) -> np.ndarray:
    """Draw crops of the classes `labels`, each from its own seed: uint8 (n, side, side)."""
    side = options.side // model.factor
    randoms = [torch_generator_for(int(seed), "crop") for seed in seeds]
    noise, step_noise = noise_from(randoms, (model.channels, side, side), options.sampler)
    latents = sample(
        network,
        noise.to(device),
        torch.from_numpy(np.asarray(labels, dtype=np.int64)).to(device),
        objective=EpsilonObjective(model.schedule),
        sampler=options.sampler,
        steps=options.steps,
        guidance=Guidance(options.guidance_weight, len(model.prompts) - 1),
        step_noise=step_noise,
    )
    return model.decode(latents)
