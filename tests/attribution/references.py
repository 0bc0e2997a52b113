"""Networks for comparisons with other packages: the classifier, and the same network on normalised images, for them."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms.v2.functional import center_crop, pil_to_tensor, resize

from maskexp.models import Classifier

REAL = {"resnet50_v1": "resnet50_v1_fp16", "tf_efficientnet_lite0": "tf_efficientnet_lite0"}
"""Networks with ImageNet weights that may lie beside the repository, and their files."""
LAST = {"resnet50_v1": "layer4", "tf_efficientnet_lite0": "bn2", "test_resnet": "layer4"}
"""The layers whose output a classifier's head sees."""
SMALL_IMAGE = 128


def small_network(classes: int = 4) -> tuple[Classifier, Tensor, Tensor]:
    """Return a network with random weights, images, of which it makes 4 × 4 features, and a class for each."""
    torch.manual_seed(0)
    network = Classifier("test_resnet", num_classes=classes, weights=None, image_size=(SMALL_IMAGE, SMALL_IMAGE)).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
    nn.init.normal_(network.network.get_classifier().weight)
    coarse = torch.rand(2, 3, 8, 8)
    images = nn.functional.interpolate(coarse, SMALL_IMAGE, mode="bilinear").clamp(0, 1)
    return network, images, torch.tensor([0, 2])


def real_network(name: str, shared: Path, images: int = 2, size: int = 224) -> tuple[Classifier, Tensor, Tensor]:
    """Return a network with ImageNet weights, photographs of a size and the classes that it sees in them."""
    network = Classifier(name, 1000, str(shared / "weights" / f"{REAL[name]}.safetensors"), (size, size)).eval()
    folder = shared / "data" / "imagenet-photos"
    rows = (folder / "labels.csv").read_text().splitlines()[1 : images + 1]
    photos = [_photo(folder / row.split(",")[0]) for row in rows]
    batch = resize(torch.stack(photos), [size])
    with torch.inference_mode():
        target = network(batch).logits.argmax(dim=1)
    return network, batch, target.clone()


def _photo(path: Path) -> Tensor:
    return center_crop(resize(pil_to_tensor(Image.open(path).convert("RGB")), [224]), [224, 224]) / 255
