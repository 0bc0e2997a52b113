"""ImageNet-9's variants beside the one that is tested: BG-Gap and changed backgrounds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from maskexp.data import ImageNet9
from maskexp.evaluation import BackgroundGap, BackgroundRobustness, Evaluation
from maskexp.metrics.functional import pixel_average_precision
from maskexp.models.network import Network
from maskexp.types import OWN, Batch, DataSpec, Prediction
from tests.evaluation.doubles import Explained, named
from tests.fixtures import write_imagenet9

SIZE = 16


class Nine(Network):
    """Nine classes from a random reading of the pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3 * SIZE * SIZE, 9)
        with torch.no_grad():
            self.head.weight.copy_(torch.randn(self.head.weight.shape, generator=torch.Generator().manual_seed(0)))
        self.eval()

    def forward(self, images: Tensor) -> Prediction:
        return Prediction(self.classify(images), attributions={OWN: images[:, :1]}, features=images)

    def classify(self, features: Tensor) -> Tensor:
        logits: Tensor = self.head(features.flatten(1))
        return logits

    def backbone_parameters(self) -> list[nn.Parameter]:
        return []


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MASKEXP_CACHE", str(tmp_path / "cache"))
    return write_imagenet9(tmp_path / "bg_challenge")


def open_it(root: Path, variant: str = "original") -> ImageNet9:
    return ImageNet9(str(root), image_size=SIZE, num_workers=0, test_split=variant)


def answers(evaluation: Evaluation, data: ImageNet9, batches: list[list[int]]) -> dict[str, float]:
    classifier = Explained(Nine())
    evaluation.prepare(data.spec, classifier.network)
    for rows in batches:
        batch = data.fetch("test", rows)
        with torch.inference_mode():
            evaluation.update(classifier, batch, classifier.explain(batch["image"], batch["label"]))
    return named(evaluation.compute())


def whole(data: ImageNet9, variant: str) -> Batch:
    return data.fetch(variant, range(18))


def test_gap_is_the_difference_of_two_tests(root: Path) -> None:
    data = open_it(root)
    accuracy = {}
    for variant in ("mixed_same", "mixed_rand"):
        batch = whole(data, variant)
        accuracy[variant] = (Nine()(batch["image"]).logits.argmax(dim=1) == batch["label"]).double().mean().item()
    expected = {
        "background/bg_gap": accuracy["mixed_same"] - accuracy["mixed_rand"],
        "background/acc_mixed_same": accuracy["mixed_same"],
        "background/acc_mixed_rand": accuracy["mixed_rand"],
        "background/n_mixed_same": 18,
        "background/n_mixed_rand": 18,
    }
    assert accuracy["mixed_same"] != accuracy["mixed_rand"]
    assert answers(BackgroundGap(str(root)), data, [list(range(18))]) == pytest.approx(expected)
    shuffled = [list(range(17, 9, -1)), list(range(10))]
    assert answers(BackgroundGap(str(root)), open_it(root, "only_fg"), shuffled) == pytest.approx(expected)


def test_changed_backgrounds_keep_their_foregrounds(root: Path) -> None:
    data = open_it(root)
    values = answers(BackgroundRobustness(str(root)), data, [[3, 1], list(range(4, 18)), [0, 2]])
    changed, clean = whole(data, "mixed_next"), whole(data, "original")
    prediction = Nine()(changed["image"])
    right = (prediction.logits.argmax(dim=1) == changed["label"]).double().mean().item()
    assert values["mixed_next/acc"] == pytest.approx(right)
    expected = pixel_average_precision(changed["image"][:, :1], changed["foreground"])
    assert values["mixed_next/pxap"] == pytest.approx(expected.item())
    assert torch.equal(changed["foreground"], clean["foreground"])  # rows are sorted by the foreground's name in both
    before = clean["image"][:, :1]
    reference = before > before.double().mean(dim=(2, 3), keepdim=True)
    expected = pixel_average_precision(changed["image"][:, :1], reference)
    assert values["mixed_next/pxap_vs_clean"] == pytest.approx(expected.item())
    assert values["mixed_next/pxap_ground_truth"] == 1


@pytest.mark.parametrize("evaluation", [BackgroundGap, BackgroundRobustness])
def test_other_data_and_larger_splits_are_refused(root: Path, evaluation: type[BackgroundGap]) -> None:
    spec = open_it(root).spec
    with pytest.raises(ValueError, match="needs the variants of ImageNet-9, but the data are toy"):
        evaluation(str(root)).prepare(DataSpec.from_dict(spec.to_dict() | {"name": "toy"}), Nine())
    batch = whole(open_it(root), "original")
    batch["index"] = batch["index"] + 1
    asked, classifier = evaluation(str(root)), Explained(Nine())
    asked.prepare(spec, classifier.network)
    with pytest.raises(ValueError, match=r"takes row 18 of (mixed_same|original), which has 18"):
        asked.update(classifier, batch, classifier(batch["image"]))


def test_labels_of_comets_order(root: Path) -> None:
    data = ImageNet9(str(root), image_size=SIZE, num_workers=0, test_split="original", label_order="comet")
    evaluation = BackgroundGap(str(root))
    evaluation.prepare(data.spec, Nine())
    rows = torch.arange(18)
    assert evaluation.variants.fetch("mixed_same", rows)["label"].equal(whole(data, "mixed_same")["label"])
