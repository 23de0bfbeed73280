"""What the extractors share: finding a weight file, reading it without pickle, precision, and one forward pass."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from datadouble.errors import DataDoubleError
from datadouble.networks.precision import has_fast_bf16

WEIGHTS_VARIABLE = "DATADOUBLE_WEIGHTS"
PRECISIONS = ("auto", "fp32", "bf16")
PICTURES_A_CORE = 8


def weights_folder() -> Path:
    """Where weight files are looked for: ``$DATADOUBLE_WEIGHTS``, else ``~/.cache/datadouble/weights``."""
    if os.environ.get(WEIGHTS_VARIABLE):
        return Path(os.environ[WEIGHTS_VARIABLE])
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "datadouble" / "weights"


def find_weights(
    extractor: str, given: Path | str | None, names: Iterable[str], source: str, *, folder: bool = False
) -> Path:
    """The weight file (or folder) that was given, or the first of ``names`` in :func:`weights_folder`.

    Parameters
    ----------
    extractor : str
        Registry name, for the message.
    given : Path or str, optional
        What the user named; looked for nowhere else.
    names : iterable of str
        File names to look for where none was given.
    source : str
        Where the file comes from, in words; nothing is downloaded.
    folder : bool
        Look for a folder.

    Raises
    ------
    DataDoubleError
        Where there is none: which file, where to get it, where to put it.
    """
    names = list(names)
    candidates = [Path(given)] if given is not None else [weights_folder() / name for name in names]
    for candidate in candidates:
        if candidate.is_dir() if folder else candidate.is_file():
            return candidate
    kind = "folder" if folder else "file"
    raise DataDoubleError(
        f"the weight {kind} of {extractor} is missing",
        where=str(given) if given is not None else f"extractor {extractor}",
        found=f"no {kind}" if given is not None else f"no {' or '.join(names)} in {weights_folder()}",
        remedy=f"get {source}; put it into {weights_folder()} (or the folder in {WEIGHTS_VARIABLE}), or give its path "
        "as the weights",
    )


def read_state(path: Path) -> dict[str, Tensor]:
    """Tensors of a ``.safetensors`` file, or of a ``.pt``/``.pth`` state dict read by the restricted unpickler.

    The restricted unpickler rebuilds tensors and plain containers and refuses everything else: no code in the file
    runs.

    Raises
    ------
    DataDoubleError
        Where the file is damaged, is not a state dict, or would run code.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # safetensors, zip, pickle and torch each raise their own
        raise DataDoubleError(
            "the weight file cannot be read",
            where=path.name,
            found=str(error).split("\n")[0][:120],
            remedy="get the file again; a .pt or .pth file must hold a state dict and nothing else",
        ) from error
    state = state.get("state_dict", state) if isinstance(state, Mapping) else state
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise DataDoubleError(
            "the weight file holds no state dict",
            where=path.name,
            found=type(state).__name__,
            remedy="save network.state_dict(), best as safetensors",
        )
    return dict(state)


def load_state(network: nn.Module, state: Mapping[str, Tensor], *, where: str, expected: str) -> None:
    """``load_state_dict``, strict, with an error that says which file would fit.

    Raises
    ------
    DataDoubleError
        Where names or shapes differ.
    """
    try:
        network.load_state_dict(dict(state))
    except RuntimeError as error:
        found = " ".join(str(error).split())
        raise DataDoubleError(
            "the weights do not fit the network", where=where, found=found[:160], remedy=f"give {expected}"
        ) from error


def state_digest(network: nn.Module) -> str:
    """SHA-256 of all names, types, shapes and values: the same for a ``.pth`` file and its safetensors conversion."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        plain = value.detach().cpu().contiguous()
        digest.update(f"{name}{plain.dtype}{tuple(plain.shape)}".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().data if plain.numel() else b"")
    return digest.hexdigest()


def best_device(device: str = "auto") -> str:
    """``"cuda"`` where there is one, for ``"auto"``."""
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device


def best_precision(precision: str, device: str, *, auto: str = "") -> str:
    """``"fp32"`` or ``"bf16"``; ``"auto"`` is ``auto`` if given, else bf16 where the hardware multiplies it.

    Raises
    ------
    DataDoubleError
        For any other word.
    """
    if precision not in PRECISIONS:
        raise DataDoubleError(
            "unknown precision", where="precision", found=precision, remedy="use fp32, bf16 or auto"
        )
    if precision != "auto":
        return precision
    return auto or ("bf16" if has_fast_bf16(device) else "fp32")


def ready(network: nn.Module, device: str) -> None:
    """For inference: evaluation mode, no gradients, on the device, channels last (3 to 5 times as fast in bf16)."""
    network.eval().requires_grad_(False).to(device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def run_network(
    forward: Callable[[Tensor], Tensor], batch: Tensor, *, device: str, precision: str
) -> np.ndarray:
    """One forward pass of (n, c, h, w) without gradients: (n, d) float32."""
    # On a processor a few pictures a core stay in its cache: twice as fast as 64 at a time.
    size = PICTURES_A_CORE * torch.get_num_threads() if device == "cpu" else max(len(batch), 1)
    with (
        torch.inference_mode(),
        torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bf16"),
    ):
        outputs = [
            forward(part.to(device).contiguous(memory_format=torch.channels_last)).float().cpu()
            for part in batch.split(size)
        ]
        return torch.cat(outputs).numpy()


def grey_batch(pictures: np.ndarray) -> Tensor:
    """(n, s, s) on the 0..255 scale -> (n, 1, s, s) float32."""
    return torch.from_numpy(np.ascontiguousarray(pictures, dtype=np.float32))[:, None]


def normalised_rgb(pictures: np.ndarray, mean: tuple[float, ...], deviation: tuple[float, ...]) -> Tensor:
    """(n, s, s) on the 0..255 scale -> (n, 3, s, s): (p / 255 - mean) / deviation, by channel."""
    grey = grey_batch(pictures) / 255.0
    return (grey - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(deviation).view(1, 3, 1, 1)
