"""The Stable Diffusion autoencoder of the CoLDiT paper, through diffusers, from a local folder or the hub."""

from pathlib import Path

import torch
from torch import Tensor

from datadouble import files
from datadouble.encoders.base import Encoder
from datadouble.errors import DataDoubleError


class KL(Encoder):
    """diffusers' `AutoencoderKL`: grey pictures go in as three equal channels and come out as their mean.

    Parameters
    ----------
    source
        A local folder with ``config.json`` and the weights, or a hub name. The hub is asked only when the
        name is no folder.

    Raises
    ------
    DataDoubleError
        When the weights are not there, or diffusers cannot be imported.
    """

    name = "kl"

    def __init__(self, source: str) -> None:
        if not source:
            raise DataDoubleError(
                "the encoder kl needs its weights",
                where="data.encoder_path",
                remedy="give a folder that holds an AutoencoderKL (config.json and its .safetensors), or a hub name",
            )
        try:
            from diffusers import AutoencoderKL
        except (ImportError, RuntimeError) as error:
            raise DataDoubleError(
                "diffusers cannot be imported",
                found=str(error)[:160],
                remedy="uninstall torchvision if it is there (it does not fit this torch), then "
                "pip install diffusers",
            ) from error
        local = Path(source).is_dir()
        try:
            network = AutoencoderKL.from_pretrained(source, local_files_only=local, use_safetensors=True)
        except (OSError, ValueError) as error:
            raise DataDoubleError(
                "no AutoencoderKL could be loaded",
                where="data.encoder_path",
                found=str(error)[:160],
                remedy="give a folder with config.json and diffusion_pytorch_model.safetensors",
            ) from error
        self.network = network.eval().requires_grad_(False)
        self.latent_channels = int(network.config.latent_channels)
        self.factor = 2 ** (len(network.config.block_out_channels) - 1)
        digest = [value.detach().float().cpu().numpy().tobytes() for value in network.state_dict().values()]
        self.fingerprint = self.decoder_fingerprint = files.fingerprint(*digest)

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, torch.bfloat16):
            return self.network.encode(images.expand(-1, 3, -1, -1)).latent_dist.parameters.float()  # type: ignore

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        with torch.autocast(latents.device.type, torch.bfloat16):
            colour = self.network.decode(latents).sample.float()  # type: ignore[union-attr, operator]
        return colour.mean(dim=1, keepdim=True).clamp(-1, 1)
