"""Reading pictures, and the one way in which they are brought to a size.

Training, sampling and every audit use `fit_square`; a distance between two sets of pictures that were resized
differently measures the resizing (Parmar et al., CVPR 2022).
"""

from pathlib import Path

import numpy as np

from datadouble.errors import DataDoubleError


def read_image(path: Path, *, name: str = "") -> np.ndarray:
    """Read a picture as uint8 (H, W), uint8 (H, W, 3) or uint16 (H, W).

    Parameters
    ----------
    name
        What to call the file in an error; its bare name if empty.

    Raises
    ------
    DataDoubleError
        When the file is missing, truncated or no picture.
    """
    from PIL import Image

    where = name or path.name
    try:
        with Image.open(path) as opened:
            opened.load()
            picture: Image.Image = opened
            if picture.mode in ("1", "P", "LA", "PA"):
                picture = picture.convert("RGB" if picture.mode in ("P", "PA") else "L")
            elif picture.mode in ("RGBA", "CMYK", "YCbCr"):
                picture = picture.convert("RGB")
            image = np.asarray(picture)
    except FileNotFoundError as error:
        raise DataDoubleError(
            "the file is missing", where=where, remedy="put it back or drop its row"
        ) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise DataDoubleError(
            "the picture cannot be read",
            where=where,
            found=str(error).replace(str(path), path.name)[:120],
            remedy="it is truncated or no picture: export it again or drop its row",
        ) from error
    if image.dtype == np.int32:  # mode I: what Pillow makes of some 16-bit PNGs
        image = image.astype(np.uint16)
    return image


def to_grey(image: np.ndarray) -> np.ndarray:
    """Return (H, W, 3) uint8 as (H, W) by Rec. 601 luma; grey pictures pass unchanged."""
    if image.ndim == 2:
        return image
    return np.round(image[..., :3] @ np.array([0.299, 0.587, 0.114])).astype(image.dtype)


def to_unit(image: np.ndarray) -> np.ndarray:
    """Return a uint8 or uint16 picture as float32 in [0, 1]."""
    return image.astype(np.float32) / np.iinfo(image.dtype).max


def fit_square(image: np.ndarray, size: int, *, mask: bool = False) -> np.ndarray:
    """Bring a picture to (size, size), the whole of it, without keeping its proportions.

    Parameters
    ----------
    image
        (H, W) or (H, W, 3), uint8 or uint16.
    mask
        Class ids: nearest neighbour, so that no new class appears. Otherwise bicubic with anti-aliasing
        (Pillow's convolution resampling).

    Returns
    -------
    numpy.ndarray
        (size, size) of the dtype of `image`; colour becomes grey.
    """
    from PIL import Image

    image = to_grey(image)
    if image.shape == (size, size):
        return image
    if mask:
        return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.NEAREST))
    # 16-bit: Pillow resamples floats ("F") with the same filters, but no 16-bit integers.
    floating = Image.fromarray(image.astype(np.float32))
    resized = np.asarray(floating.resize((size, size), Image.Resampling.BICUBIC))
    return np.clip(np.round(resized), 0, np.iinfo(image.dtype).max).astype(image.dtype)
