"""EfficientNet-Lite against what it was trained to see, and the rules of its weight file."""

import numpy as np
import pytest
import torch

from datadouble.audit.features.efficientnet_lite import (
    EfficientNetLite,
    SameConv,
    check_hash_in_name,
    grey_to_input,
    packaged_weights,
)
from datadouble.cohort.pixels import fit_square
from datadouble.errors import DataDoubleError


@pytest.fixture(scope="module")
def lite0():
    return EfficientNetLite.pretrained("lite0")


@pytest.mark.parametrize(("photo", "classes"), [("coffee", {967, 504}), ("chelsea", {281, 282, 285})])
def test_top_class_of_a_photo(lite0, photo, classes):
    # ImageNet: 967 espresso, 504 coffee mug; 281 tabby, 282 tiger cat, 285 Egyptian cat.
    from skimage import data

    image = getattr(data, photo)()
    side = min(image.shape[:2])
    top, left = ((s - side) // 2 for s in image.shape[:2])
    image = image[top : top + side, left : left + side]
    colour = np.stack([fit_square(np.ascontiguousarray(image[..., c]), 224) for c in range(3)]).astype(
        np.float32
    )
    logits = lite0.forward_logits(torch.from_numpy((colour - 127) / 128)[None])
    assert int(logits.argmax()) in classes
    grey = torch.from_numpy(fit_square(image, 224) / np.float32(255))[None, None]
    assert int(lite0.forward_logits(grey_to_input(grey)).argmax()) in classes


def test_shapes_and_sizes(lite0):
    # 4,652,008 trained parameters (the published 4.7 M) less the 42,016 of batch normalisation, plus 21,008 biases.
    assert sum(p.numel() for p in lite0.parameters()) == 4_631_000
    maps = lite0.forward_features(torch.zeros(2, 3, 96, 64))
    assert [m.shape[1] for m in maps] == [16, 24, 40, 80, 112, 192, 320]
    assert [m.shape[2] for m in maps] == [48, 24, 12, 6, 6, 3, 3]
    assert lite0.forward_pooled(torch.zeros(2, 3, 96, 64)).shape == (2, 1280)
    assert [len(stage) for stage in EfficientNetLite("lite2").stages] == [1, 3, 3, 4, 4, 5, 1]


def test_gradients_reach_the_picture(lite0):
    grey = torch.rand(1, 1, 64, 64, requires_grad=True)
    lite0.forward_features(grey_to_input(grey))[2].square().mean().backward()
    assert grey.grad is not None
    assert grey.grad.abs().sum() > 0


def test_same_padding_is_tensorflows():
    # Even input, stride 2, kernel 3: TensorFlow pads only right and below.
    convolution = SameConv(1, 1, 3, 2, bias=False)
    torch.nn.init.ones_(convolution.weight)
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    expected = [
        [0 + 1 + 2 + 4 + 5 + 6 + 8 + 9 + 10, 2 + 3 + 6 + 7 + 10 + 11],
        [8 + 9 + 10 + 12 + 13 + 14, 10 + 11 + 14 + 15],
    ]
    assert convolution(x)[0, 0].tolist() == expected


def test_weight_file_is_checked(tmp_path):
    damaged = tmp_path / packaged_weights("lite0").name
    damaged.write_bytes(b"not the weights")
    with pytest.raises(DataDoubleError, match="damaged"):
        check_hash_in_name(damaged)
    with pytest.raises(DataDoubleError, match="missing"):
        EfficientNetLite.pretrained("lite0", tmp_path / "absent.pth")
    with pytest.raises(DataDoubleError, match="do not fit"):
        EfficientNetLite.pretrained("lite2", packaged_weights("lite0"))
    with pytest.raises(DataDoubleError, match="unknown"):
        EfficientNetLite("lite9")


def test_no_code_runs_from_a_weight_file(tmp_path):
    class Malicious:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"_fc.weight": Malicious()}, tmp_path / "evil.pth")
    with pytest.raises(Exception, match="[Ww]eights_only|[Uu]nsupported"):
        EfficientNetLite.pretrained("lite0", tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()
