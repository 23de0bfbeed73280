"""The paper's stage 1 in small: a Stable Diffusion of random weights is fine-tuned, saved, loaded and drawn from."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datadouble.cohort import CohortInfo
from datadouble.errors import DataDoubleError
from datadouble.networks.weights import load_tensors
from datadouble.recipes.lesion.config import LesionConfig
from datadouble.recipes.lesion.crops import LesionPatch
from datadouble.recipes.lesion.lesion_drawer import BANK, SamplingOptions
from datadouble.recipes.lesion.loading import sampling_of
from datadouble.recipes.lesion.material import LesionMaterial, Pictures
from datadouble.recipes.lesion.stable_diffusion import (
    StableDiffusionOptions,
    adapted,
    read_stable_diffusion,
)
from datadouble.recipes.lesion.stable_diffusion_stage import (
    CropTask,
    StableDiffusionDrawer,
    fit_stable_diffusion,
    lesion_crops,
)

pytest.importorskip("transformers")
CPU = torch.device("cpu")
CLASSES = ("benign", "malignant")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in diffusers' layout, all of it made here."""
    from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    folder = tmp_path_factory.mktemp("base") / "tiny-sd"
    torch.manual_seed(0)
    letters = list("abcdefghijklmnopqrstuvwxyz")
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "tokenizer").mkdir(parents=True)
    vocabulary = {word: number for number, word in enumerate(words)}
    (folder / "tokenizer" / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "tokenizer" / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer" / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 24})
    )
    text = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=24,
        bos_token_id=len(words) - 2,
        eos_token_id=len(words) - 1,
        pad_token_id=len(words) - 1,
    )
    CLIPTextModel(text).save_pretrained(folder / "text_encoder", safe_serialization=True)
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(8, 16),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=16,
        attention_head_dim=4,
        norm_num_groups=4,
    )
    unet.save_pretrained(folder / "unet", safe_serialization=True)
    vae = AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=16,
    )
    vae.save_pretrained(folder / "vae", safe_serialization=True)
    DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear").save_pretrained(
        folder / "scheduler"
    )
    return folder


def options(base: Path) -> StableDiffusionOptions:
    return StableDiffusionOptions(
        folder=str(base),
        side=16,
        images=16,
        batch=4,
        learning_rate=1e-2,
        precision="fp32",
        ema_half_life=10.0,
        checkpoint_every=8,
        validate_every=16,
        sheet_every=16,
        steps=2,
        segmenter_images=8,
        segmenter_width=4,
        segmenter_levels=2,
    )


def pictures(numbers: range) -> Pictures:
    rows, columns = np.indices((48, 48))
    masks = np.stack(
        [((rows - 20 - n % 7) / 6) ** 2 + ((columns - 24) / (8 + n % 3)) ** 2 < 1 for n in numbers]
    )
    images = np.where(masks, 40, 130).astype(np.uint8)
    labels = np.array([n % 2 for n in numbers])
    names = tuple(f"i{n}" for n in numbers)
    return Pictures(images, masks, np.zeros_like(masks), labels, names, names)


@pytest.fixture(scope="module")
def material() -> LesionMaterial:
    info = CohortInfo("spots", "real", "ultrasound", ("normal", *CLASSES), ("background", "lesion"), {})
    chosen: Any = None
    return LesionMaterial(
        pictures(range(8)), pictures(range(8, 12)), CLASSES, (1, 1), (0.0, 0.5, 0.5), "normal", info, chosen
    )


@pytest.fixture(scope="module")
def run(base: Path, material: LesionMaterial, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "lesion"
    fit_stable_diffusion(options(base), material, folder, 16)
    return folder


def test_prompts_and_schedule_are_those_of_the_library(base: Path) -> None:
    from diffusers import DDPMScheduler
    from transformers import CLIPTextModel, CLIPTokenizer

    model = read_stable_diffusion(options(base), CLASSES)
    theirs = DDPMScheduler.from_pretrained(base / "scheduler").alphas_cumprod.numpy()
    np.testing.assert_allclose(model.schedule.alphas_cumprod, theirs, rtol=1e-4)
    tokenizer = CLIPTokenizer.from_pretrained(base / "tokenizer")
    tokens = tokenizer(
        ["ultrasound image of a malignant breast lesion", ""],
        padding="max_length",
        max_length=24,
        truncation=True,
        return_tensors="pt",
    )
    with torch.no_grad():
        expected = CLIPTextModel.from_pretrained(base / "text_encoder").eval()(tokens.input_ids)
    torch.testing.assert_close(model.prompts[1:], expected.last_hidden_state)
    assert not torch.allclose(model.prompts[0], model.prompts[1])


def test_its_drawing_is_that_of_the_librarys_pipeline(base: Path, material: LesionMaterial) -> None:
    """Ours against diffusers' DDIM loop with its guidance, from the same noise, without adapters' effect."""
    from diffusers import DDIMScheduler, UNet2DConditionModel

    from datadouble.randomness import torch_generator_for
    from datadouble.recipes.lesion.stable_diffusion import draw_crops

    chosen = replace(options(base), sampler="ddim", steps=4, guidance_weight=1.5)
    model = read_stable_diffusion(chosen, CLASSES)
    found = draw_crops(model, adapted(model, chosen), np.array([1]), [7], chosen, CPU)
    scheduler = DDIMScheduler.from_pretrained(
        base / "scheduler", timestep_spacing="trailing", clip_sample=False, set_alpha_to_one=True
    )
    scheduler.set_timesteps(4)
    unet = UNet2DConditionModel.from_pretrained(base / "unet").eval()
    x = torch.randn(4, 8, 8, generator=torch_generator_for(7, "crop"))[None]
    prompts = model.prompts[[2, 1]]
    with torch.no_grad():
        for t in scheduler.timesteps:
            empty, told = unet(torch.cat([x, x]), t, encoder_hidden_states=prompts).sample.chunk(2)
            x = scheduler.step(empty + 2.5 * (told - empty), t, x).prev_sample
    expected = model.decode(x)
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1


def test_training_changes_the_adapters_alone_and_saves_nothing_else(run: Path, base: Path) -> None:
    kept, _ = load_tensors(run / "model" / "last.safetensors")
    layers = {name.rsplit(".", 1)[0] for name in kept}
    assert layers and all(layer.endswith(("to_q", "to_k", "to_v", "to_out.0")) for layer in layers)
    assert all(min(value.shape) <= 4 for value in kept.values())
    assert max(value.abs().max() for name, value in kept.items() if name.endswith(".up")) > 1e-4
    state, _ = load_tensors(run / "state" / "state.safetensors")
    assert sum(v.numel() for n, v in state.items() if n.startswith("network/")) == sum(
        v.numel() for v in kept.values()
    )


def test_a_loaded_drawer_draws_patches_with_masks_from_their_seeds(run: Path) -> None:
    drawer = StableDiffusionDrawer.load(run, CPU)
    labels = np.array([0, 1, 1])
    patches = drawer.draw(labels, [], [1, 2, 3])
    for patch in patches:
        assert isinstance(patch, LesionPatch)
        assert patch.image.shape == patch.mask.shape == (16, 16)
        assert patch.image.dtype == np.uint8 and patch.mask.dtype == bool
    again = StableDiffusionDrawer.load(run, CPU).draw(labels[1:], [], [2, 3])
    assert np.abs(again[0].image.astype(int) - patches[1].image).max() <= 1
    assert not np.array_equal(patches[1].image, patches[2].image)
    assert drawer.bank.classes == CLASSES and (run / "model" / BANK).is_file()
    # What `generate --steps` asks for reaches it, and its own settings are what a double says.
    fewer = StableDiffusionDrawer.load(run, CPU, SamplingOptions(steps=1)).draw(labels[1:], [], [2, 3])
    assert np.abs(again[0].image.astype(int) - fewer[0].image).max() > 1
    own = sampling_of(LesionConfig(stable_diffusion=StableDiffusionOptions(folder="sd", steps=7)))
    assert (own.steps, own.guidance_weight) == (7, 6.5)
    assert sampling_of(LesionConfig()) == LesionConfig().sampling


class CutOff(Exception):
    pass


def test_a_training_that_is_cut_off_goes_on_bit_for_bit(
    run: Path, base: Path, material: LesionMaterial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, losses = 0, CropTask.losses

    def failing(self: CropTask, *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 3:
            raise CutOff
        return losses(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(CropTask, "losses", failing)
        with pytest.raises(CutOff):
            fit_stable_diffusion(options(base), material, tmp_path / "lesion", 16)
    with pytest.raises(DataDoubleError, match="not finished"):
        StableDiffusionDrawer.load(tmp_path / "lesion", CPU)
    fit_stable_diffusion(options(base), material, tmp_path / "lesion", 16)
    for name in ("state/state", "adapters/lesions/adapter", "segmenter/model/last"):
        one, other = (load_tensors(f / f"{name}.safetensors")[0] for f in (run, tmp_path / "lesion"))
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_crops_hold_picture_and_mask_of_one_window(material: LesionMaterial) -> None:
    images, masks, labels = lesion_crops(material.train, 32)
    assert images.shape == masks.shape == (8, 32, 32) and labels.tolist() == [0, 1] * 4
    for image, mask in zip(images, masks, strict=True):
        shown = image < 85
        assert (shown & mask).sum() / (shown | mask).sum() > 0.9


def test_wrong_folders_and_layers_are_refused(base: Path, tmp_path: Path) -> None:
    with pytest.raises(DataDoubleError, match="folder"):
        read_stable_diffusion(StableDiffusionOptions(), CLASSES)
    with pytest.raises(DataDoubleError, match="no unet, vae"):
        read_stable_diffusion(StableDiffusionOptions(folder=str(tmp_path)), CLASSES)
    with pytest.raises(DataDoubleError, match="multiple of 2"):
        read_stable_diffusion(replace(options(base), side=17), CLASSES)
    wrong = replace(options(base), targets=("to_everything",))
    with pytest.raises(DataDoubleError, match="to_q"):
        adapted(read_stable_diffusion(wrong, CLASSES), wrong)
    copy = shutil.copytree(base, tmp_path / "copy")
    scheduler = copy / "scheduler" / "scheduler_config.json"
    values = json.loads(scheduler.read_text())
    scheduler.write_text(json.dumps(values | {"prediction_type": "v_prediction"}))
    with pytest.raises(DataDoubleError, match="predict the noise"):
        read_stable_diffusion(replace(options(base), folder=str(copy)), CLASSES)
    scheduler.write_text(json.dumps(values))
    (copy / "unet" / "diffusion_pytorch_model.safetensors").rename(
        copy / "unet" / "diffusion_pytorch_model.bin"
    )
    with pytest.raises(DataDoubleError, match="safetensors"):
        read_stable_diffusion(replace(options(base), folder=str(copy)), CLASSES)


def test_without_transformers_it_says_what_to_install(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(DataDoubleError, match=r"datadouble\[models\]"):
        read_stable_diffusion(options(base), CLASSES)
