"""GroupDRO: weights and loss against numbers worked out by hand and a loop over the images."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Trainer

from maskexp.data import Manifest, SyntheticBirds
from maskexp.methods import GroupDRO, load_method
from maskexp.types import Batch, DataSpec, Prediction
from tests.fixtures.own import write_csv

SMALL: dict[str, Any] = {"backbone": "test_resnet", "weights": None}


def built(spec: DataSpec, **arguments: Any) -> GroupDRO:
    method = GroupDRO(**SMALL, **arguments)
    method.build(spec, pretrained=True)
    return method.double()


def drawn_batch(size: int, groups: int, seed: int) -> tuple[Prediction, Batch]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(size, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    group = torch.randint(groups, (size,), generator=generator)
    return Prediction(logits), {"label": group // 2, "group": group}  # type: ignore[typeddict-item]


def test_weights_after_a_step_are_those_worked_out_by_hand(birds: SyntheticBirds) -> None:
    spec = replace(birds.spec, train_group_counts=(100, 4, 1, 25))
    method = built(spec, step_size=0.5, adjustment=2.0)
    moved = method.moved_weights(torch.tensor([1.0, 2.0, 0.0, 3.0], dtype=torch.float64))
    # 1 + 2 / 10, 2 + 2 / 2, 0 + 2 / 1, 3 + 2 / 5, all times 0.5
    unnormalised = [math.exp(0.6), math.exp(1.5), math.exp(1.0), math.exp(1.7)]
    assert moved.tolist() == pytest.approx([each / sum(unnormalised) for each in unnormalised])


def test_a_training_is_that_of_a_loop_over_the_images(birds: SyntheticBirds) -> None:
    method, eta, c = built(birds.spec, step_size=0.3, adjustment=1.5), 0.3, 1.5
    q = [0.25] * 4
    for step in range(5):
        prediction, batch = drawn_batch(6, 3, step)  # the fourth group is never there
        (loss,) = method.objective(prediction, batch).values()
        (gradient,) = torch.autograd.grad(loss, prediction.logits)

        logits = prediction.logits.detach().clone().requires_grad_()
        means: list[Any] = []
        for group in range(4):
            own = [i for i in range(6) if int(batch["group"][i]) == group]
            each = [F.cross_entropy(logits[i : i + 1], batch["label"][i : i + 1]) for i in own]
            means.append(sum(each) / len(own) if own else torch.zeros((), dtype=torch.float64))
        grown = [
            weight * math.exp(eta * (float(mean.detach()) + c / math.sqrt(count)))
            for weight, mean, count in zip(q, means, birds.spec.train_group_counts, strict=True)
        ]
        q = [each / sum(grown) for each in grown]
        expected = sum(weight * mean for weight, mean in zip(q, means, strict=True))
        (wanted,) = torch.autograd.grad(expected, logits)

        assert method.group_weights.tolist() == pytest.approx(q)
        assert loss.item() == pytest.approx(float(expected))
        torch.testing.assert_close(gradient, wanted)


def test_the_worst_group_comes_to_weigh_most(birds: SyntheticBirds) -> None:
    method = built(birds.spec, step_size=0.01)
    logits = torch.tensor([[4.0, 0.0], [4.0, 0.0], [0.0, 4.0], [4.0, 0.0]], dtype=torch.float64)
    batch: Any = {"label": torch.tensor([0, 0, 1, 1]), "group": torch.arange(4)}
    for _ in range(500):
        method.objective(Prediction(logits), batch)
    assert method.group_weights.argmax() == 3
    assert method.group_weights[3] > 0.99
    assert float(method.group_weights.sum()) == pytest.approx(1)


def test_the_weights_go_on_from_a_checkpoint(
    birds: SyntheticBirds, trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    method = GroupDRO(**SMALL, step_size=1.0)
    run = trainer()
    run.fit(method, birds)
    assert len(set(method.group_weights.tolist())) > 1
    run.save_checkpoint(tmp_path / "a.ckpt")
    again = load_method(tmp_path / "a.ckpt")
    assert isinstance(again, GroupDRO)
    assert torch.equal(again.group_weights, method.group_weights.cpu())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attribute_names": (), "group_names": (), "train_group_counts": ()}, "has no groups; use data with"),
        ({"train_group_counts": (8, 0, 0, 8)}, r"landbird/water, waterbird/land of .* has no training image"),
    ],
)
def test_data_without_the_groups_that_it_needs_is_refused(
    birds: SyntheticBirds, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        built(replace(birds.spec, **changes))


def test_batches_without_groups_are_refused(birds: SyntheticBirds) -> None:
    prediction, batch = drawn_batch(4, 4, 0)
    del batch["group"]  # type: ignore[misc]
    with pytest.raises(ValueError, match="GroupDRO needs the group of each image"):
        built(birds.spec).objective(prediction, batch)


@pytest.mark.parametrize("arguments", [{"step_size": -0.1}, {"adjustment": math.inf}])
def test_arguments_out_of_range_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"it must be (at least 0 and|a) finite"):
        GroupDRO(**SMALL, **arguments)


def test_training_images_without_an_attribute_are_named_before_the_training(tmp_path: Path) -> None:
    table = write_csv(tmp_path, per_split=8)
    lines = table.read_text().splitlines(keepends=True)
    lines[1], lines[3] = (line.replace(",land,", ",,").replace(",water,", ",,") for line in (lines[1], lines[3]))
    table.write_text("".join(lines))
    data = Manifest(csv=str(table), image_size=16, num_workers=0)
    with pytest.raises(ValueError, match=r"2 of \S+ have no attribute \(images/image 0\.png, images/image 2\.png\)"):
        GroupDRO(**SMALL).check_training(data)
