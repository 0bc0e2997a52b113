"""Masks in the place of a network's own: refused where they do not fit it, of any type where they do."""

from __future__ import annotations

import pytest
import torch

from maskexp.methods import AIM, CAD, REALX, BottomUp, DynConv
from maskexp.models import AIMNetwork, BottomUpNetwork, CADNetwork, DynConvNetwork
from maskexp.models.realx import REALXNetwork
from tests.defaults import network_defaults

IMAGES = torch.rand(2, 3, 72, 56, generator=torch.Generator().manual_seed(1))
NETWORKS = [
    (AIM, AIMNetwork),
    (BottomUp, BottomUpNetwork),
    (CAD, CADNetwork),
    (DynConv, DynConvNetwork),
    (REALX, REALXNetwork),
]
Masked = AIMNetwork | BottomUpNetwork | CADNetwork | DynConvNetwork | REALXNetwork


@pytest.fixture(params=NETWORKS, ids=lambda pair: pair[0].__name__, scope="module")
def network(request: pytest.FixtureRequest) -> Masked:
    torch.manual_seed(0)
    method, kind = request.param
    further = {"teacher": False} if method is REALX else {}
    settings = network_defaults(method, kind) | further
    made: Masked = kind("test_resnet", 3, weights=None, image_size=(72, 56), **settings)
    return made.eval()


def test_a_wrong_count_is_refused(network: Masked) -> None:
    masks = list(network(IMAGES).masks)
    for wrong in (masks[1:], [*masks, masks[0]]):
        with pytest.raises(ValueError, match=f"{len(wrong)} masks were given, but the network has {len(masks)}"):
            network(IMAGES, wrong)


def test_a_wrong_grid_is_refused(network: Masked) -> None:
    masks = list(network(IMAGES).masks)
    masks[-1] = masks[-1][..., :1, :1]
    with pytest.raises(ValueError, match=rf"mask {len(masks)} of {len(masks)} has the shape \(2, 1, 1, 1\)"):
        network(IMAGES, masks)


def test_masks_may_have_any_type(network: Masked) -> None:
    own = network(IMAGES)
    prediction = network(IMAGES, [mask.bool() for mask in own.masks])
    assert torch.equal(prediction.logits, own.logits)
    assert all(mask.dtype == torch.float32 for mask in prediction.masks)
