"""Where bf16 is fast."""

import torch


def has_fast_bf16(device: str) -> bool:
    """Whether a device multiplies bf16 in hardware; elsewhere it is emulated, and slower than float32."""
    if not device.startswith("cpu"):
        return torch.cuda.is_bf16_supported()
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
