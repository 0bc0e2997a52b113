"""CAD's network (Hesse et al., CVPRW 2023), and what its two paths share."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from maskexp.methods import CAD
from maskexp.models import CADNetwork
from maskexp.models.backbones import Normalize, create_timm
from tests.defaults import network_defaults

IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
NAMES = ["test_resnet", "resnet18", pytest.param("resnet50", marks=pytest.mark.slow), "resnet26d"]
LOW, HIGH = torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4)


def network(name: str = "test_resnet", **options: object) -> CADNetwork:
    torch.manual_seed(0)
    model = CADNetwork(  # type: ignore[arg-type]
        name, 5, weights=None, image_size=(64, 64), **network_defaults(CAD, CADNetwork) | options
    )  # type: ignore[arg-type]
    nn.init.normal_(model.estimator[-1].weight, std=0.1)  # type: ignore[arg-type]
    return model.eval()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("mask", "stride"), [(LOW, 16), (HIGH, 8)])
@pytest.mark.parametrize("training", [True, False])
def test_one_resolution_everywhere_is_the_network_of_that_stride(
    name: str, mask: Tensor, stride: int, training: bool
) -> None:
    model = network(name).train(training)
    torch.manual_seed(0)
    plain = create_timm(name, None, (64, 64), num_classes=5, output_stride=stride).train(training)
    features = plain.forward_features(Normalize.of(plain)(IMAGES))  # type: ignore[operator]
    if stride == 16:
        features = features.repeat_interleave(2, 2).repeat_interleave(2, 3)
    prediction = model(IMAGES, [mask])
    assert torch.equal(prediction.features, features)
    assert torch.equal(prediction.logits, plain.forward_head(features))  # type: ignore[operator]


def test_each_cell_has_the_resolution_that_its_mask_says() -> None:
    model = network()
    mask = (torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    cells = mask.repeat_interleave(2, 2).repeat_interleave(2, 3).bool()
    expected = torch.where(cells, model(IMAGES, [HIGH]).features, model(IMAGES, [LOW]).features)
    assert torch.equal(model(IMAGES, [mask]).features, expected)


@pytest.mark.parametrize("training", [True, False])
def test_every_cell_is_either_high_or_low(training: bool) -> None:
    model = network().train(training)
    logits: list[Tensor] = []
    model.binarizer.register_forward_hook(lambda _, __, low: logits.append(low))
    prediction = model(IMAGES)
    assert torch.equal(prediction.masks[0] + logits[0], torch.ones(2, 1, 4, 4))
    assert set(prediction.masks[0].unique().tolist()) == {0.0, 1.0}
    assert prediction.attribution is prediction.masks[0]


def test_evaluation_draws_nothing_unless_asked() -> None:
    model = network()
    prediction = model(IMAGES)
    logits = prediction.extras["mask_logits"]
    assert torch.equal(prediction.masks[0], (logits[:, 1:] < logits[:, :1]).float())
    assert torch.equal(model(IMAGES).masks[0], prediction.masks[0])
    noisy = network(eval_noise=True)
    assert not torch.equal(noisy(IMAGES).masks[0], noisy(IMAGES).masks[0])


def test_both_paths_share_weights_and_not_statistics() -> None:
    model = network().train()
    names = {name for name, _ in model.named_parameters()}
    assert not any(name.startswith("high.") for name in names)
    model(IMAGES, [HIGH])
    low, high = (part.rest[1].running_mean for part in (model.resnet.stages[2][0], model.high[0][0]))
    assert not torch.equal(low, high)
    model.to(memory_format=torch.channels_last)
    assert model.high[1][0].rest[0].weight is model.resnet.stages[3][0].rest[0].weight
    state = network().state_dict()
    model.load_state_dict(state)
    assert model.high[0][0].rest[0].weight is model.resnet.stages[2][0].rest[0].weight


def test_images_of_odd_grids_are_fine() -> None:
    prediction = network()(torch.rand(1, 3, 72, 56))
    assert prediction.features.shape[-2:] == (9, 7)
    assert prediction.masks[0].shape[-2:] == (5, 4)


def test_gradients_reach_the_estimator_from_the_classification_alone() -> None:
    model = network().train()
    model(IMAGES).logits.square().sum().backward()
    assert model.estimator[0].weight.grad.abs().sum() > 0  # type: ignore[union-attr]


def test_a_frozen_backbone_leaves_estimator_and_head() -> None:
    model = network(frozen_backbone=True).train()
    before = [buffer.clone() for buffer in model.buffers()]
    model(IMAGES).logits.square().sum().backward()
    learning = {name.split(".")[0] for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert learning == {"estimator", "resnet"}
    assert all(parameter.grad is None for parameter in model.backbone_parameters())
    assert all(map(torch.equal, before, model.buffers()))


def test_classify_finishes_the_prediction() -> None:
    model = network()
    prediction = model(IMAGES)
    assert torch.equal(model.classify(prediction.features), prediction.logits)


def test_other_networks_are_refused() -> None:
    with pytest.raises(ValueError, match="'test_convnext' is no ResNet"):
        network("test_convnext")


def test_it_runs_in_half_precision_throughout() -> None:
    prediction = network().bfloat16()(IMAGES)
    assert prediction.logits.dtype == torch.bfloat16
    assert prediction.masks[0].dtype == torch.float32
