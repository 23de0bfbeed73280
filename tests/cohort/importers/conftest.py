"""Small sources in the layouts of the public data sets."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def picture(seed: int, size: tuple[int, int] = (40, 48)) -> np.ndarray:
    """Return an uint8 picture (H, W) of smooth noise, unlike that of any other seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((size[1], size[0]), Image.Resampling.BICUBIC))


@pytest.fixture
def save() -> Callable[[Path, np.ndarray], Path]:
    def write(path: Path, pixels: np.ndarray) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        return path

    return write


@pytest.fixture
def busi(tmp_path: Path, save: Callable[[Path, np.ndarray], Path]) -> Path:
    """BUSI's layout: 3 normal, 3 benign (the first with two lesions), 2 malignant, the second one being benign 3."""
    root = tmp_path / "Dataset_BUSI_with_GT"
    for k, label in enumerate(("normal", "benign", "malignant")):
        for number in range(1, 3 if label == "malignant" else 4):
            seed = 100 * k + number if (label, number) != ("malignant", 2) else 103
            save(root / label / f"{label} ({number}).png", picture(seed))
            mask = np.zeros((40, 48), bool)
            if label != "normal":
                mask[5:10, 5:10] = True
            save(root / label / f"{label} ({number})_mask.png", mask)
    second = np.zeros((40, 48), bool)
    second[20:30, 20:40] = True
    save(root / "benign" / "benign (1)_mask_1.png", second)
    return root


@pytest.fixture
def busbra(tmp_path: Path, save: Callable[[Path, np.ndarray], Path]) -> Path:
    """BUS-BRA's layout: two patients with two views, one with one."""
    root = tmp_path / "BUSBRA"
    rows = ["ID,Case,Histology,Pathology,BIRADS,Device,Width,Height,Side,BBOX"]
    views = [("0001-l", 1), ("0001-r", 1), ("0002-l", 2), ("0002-r", 2), ("0003-s", 3)]
    for seed, (name, case) in enumerate(views):
        save(root / "Images" / f"bus_{name}.png", picture(seed))
        mask = np.zeros((40, 48), bool)
        mask[10:20, 4:11] = True  # rows 10 to 19, columns 4 to 10
        save(root / "Masks" / f"mask_{name}.png", mask)
        side = {"l": "left", "r": "right", "s": "single"}[name[-1]]
        pathology = "malignant" if case == 1 else "benign"
        rows.append(f'bus_{name},{case},cyst,{pathology},{case + 2},Scanner X,48,40,{side},"[5,11,6,9]"')
    (root / "bus_data.csv").write_text("\n".join(rows) + "\n")
    return root
