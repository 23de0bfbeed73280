"""Configurations: every key known, every value typed, every preset valid."""

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from datadouble.errors import DataDoubleError
from datadouble.recipes.coldit import ColditConfig
from datadouble.recipes.config import build, preset_names, read_config, read_preset, to_toml


@pytest.mark.parametrize("name", preset_names("coldit"))
def test_every_preset_is_valid_and_survives_the_way_through_toml(name: str) -> None:
    config = build(ColditConfig, read_preset("coldit", name))
    assert build(ColditConfig, tomllib.loads(to_toml(config))) == config


def test_the_paper_preset_holds_the_values_of_the_paper() -> None:
    """CoLDiT, Methods: DiT-S/2, batch 256, AdamW 1e-4, EMA 0.9999, DDIM 250 steps, w = 0.8, 512 px."""
    config = build(ColditConfig, read_preset("coldit", "paper"))
    assert (config.model.size, config.data.size, config.data.encoder) == ("S/2", 512, "kl")
    assert (config.training.batch, config.training.learning_rate) == (256, 1e-4)
    assert (config.sampling.sampler, config.sampling.steps, config.sampling.guidance_weight) == (
        "ddim",
        250,
        0.8,
    )
    decay = 0.5 ** (config.training.batch / config.training.ema_half_life)
    assert decay == pytest.approx(0.9999, abs=1e-7)


def test_overrides_take_the_type_of_their_key() -> None:
    overrides = [
        "training.images=1e3",
        "training.learning_rate=1",
        'data.classes=["3", "4"]',
        "model.size=S/4",
    ]
    config = build(ColditConfig, {}, overrides)
    assert config.training.images == 1000 and isinstance(config.training.images, int)
    assert config.training.learning_rate == 1.0 and isinstance(config.training.learning_rate, float)
    assert config.data.classes == ("3", "4")
    assert config.model == replace(ColditConfig().model, size="S/4")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainig.images=5", "did you mean 'training.images'"),
        ("training.lerning_rate=5", "did you mean 'training.learning_rate'"),
        ("images=5", "training.images"),
        ("training.images", "key=value"),
        ("training.images=many", "type int"),
        ("training.images=1.5", "type int"),
        ("data.flips=1", "type bool"),
    ],
)
def test_a_wrong_override_is_answered(override: str, message: str) -> None:
    with pytest.raises(DataDoubleError, match=message):
        build(ColditConfig, {}, [override])


def test_an_unknown_preset_is_answered_with_the_nearest() -> None:
    with pytest.raises(DataDoubleError, match="cpu-128"):
        read_preset("coldit", "cpu128")


def test_a_folder_without_a_configuration_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(DataDoubleError, match="no run"):
        read_config(tmp_path / "config.toml")
