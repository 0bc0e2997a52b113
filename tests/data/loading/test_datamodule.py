from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from jsonargparse import ArgumentParser
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torchvision.transforms import v2

from maskexp.data import DataError, ImageDataModule, Manifest, SyntheticBirds
from maskexp.data.manifest.table import ManifestTable
from maskexp.data.transforms import TrainTransform
from maskexp.types import Batch, DataSpec

TRAIN = "maskexp.data.transforms.TrainTransform"


def birds(**arguments: Any) -> SyntheticBirds:
    sizes = {"image_size": 24, "train_size": 14, "val_size": 8, "test_size": 9, "batch_size": 4}
    return SyntheticBirds(**(sizes | arguments))


def attached(data: ImageDataModule, **trainer: Any) -> ImageDataModule:
    """Let a datamodule believe that it belongs to a trainer."""
    data.trainer = SimpleNamespace(**trainer)  # type: ignore[assignment]
    return data


class Counting(LightningModule):
    """Learns nothing and remembers which batches it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.seen: list[tuple[str, int, Batch]] = []

    def training_step(self, batch: Batch, index: int) -> Tensor:
        self.seen.append(("train", self.current_epoch, batch))
        return self.layer(torch.zeros(1, 1)).sum()

    def validation_step(self, batch: Batch, index: int) -> None:
        self.seen.append(("val", self.current_epoch, batch))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.0)


def fit(data: ImageDataModule, epochs: int = 2, **arguments: Any) -> Counting:
    module = Counting()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    quiet |= {"enable_model_summary": False, "use_distributed_sampler": False, "num_sanity_val_steps": 0}
    Trainer(max_epochs=epochs, **(quiet | arguments)).fit(module, datamodule=data)
    return module


def test_trainer_gets_floats_and_another_order_in_each_epoch() -> None:
    seen = fit(birds()).seen

    for _, _, batch in seen:
        assert batch["image"].dtype == torch.float32
        assert batch["image"].min() >= 0
        assert batch["image"].max() <= 1
        assert batch["foreground"].shape == (len(batch["label"]), 1, 24, 24)
    orders = [[int(i) for stage, e, b in seen if (stage, e) == ("train", n) for i in b["index"]] for n in (0, 1)]
    assert [len(set(order)) for order in orders] == [12, 12]  # the incomplete last batch is left out
    assert orders[0] != orders[1]
    assert [int(i) for stage, e, b in seen if (stage, e) == ("val", 0) for i in b["index"]] == list(range(8))


def test_who_does_not_validate_needs_no_split_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    data = birds()
    monkeypatch.setattr(data, "_table", ManifestTable(data.table.card, data.table.split("train")))

    assert {stage for stage, _, _ in fit(data, 1, limit_val_batches=0).seen} == {"train"}
    with pytest.raises(DataError, match="val"):
        fit(data, 1)


def test_photometry_only_in_training() -> None:
    plain, jittered = fit(birds(), 1).seen, fit(birds(train_transform=TrainTransform(photometric=0.5)), 1).seen

    for (stage, _, before), (_, _, after) in zip(plain, jittered, strict=True):
        assert torch.equal(before["index"], after["index"])
        assert torch.equal(before["foreground"], after["foreground"])
        assert torch.equal(before["image"], after["image"]) == (stage == "val")


def test_training_resumes_with_the_epoch_it_stopped_in() -> None:
    through = [batch["image"] for stage, epoch, batch in fit(birds(), 3).seen if (stage, epoch) == ("train", 2)]
    data = birds()
    data.setup("fit")
    loader = data.train_dataloader()

    loader.sampler.set_epoch(2)  # type: ignore[union-attr]

    for expected, batch in zip(through, loader, strict=True):
        assert torch.equal(expected, batch["image"] / 255)


def test_everything_is_seen_where_a_batch_is_larger_than_the_data() -> None:
    assert [len(batch["label"]) for batch in birds(batch_size=50).train_dataloader()] == [14]


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_ranks_share_evaluation_without_repetition(world_size: int) -> None:
    loaders: dict[str, Callable[[ImageDataModule], Any]] = {
        "val": lambda data: data.val_dataloader(),
        "test": lambda data: data.test_dataloader(),
        "predict": lambda data: data.predict_dataloader(),
    }
    sizes = {"val": 8, "test": 9, "predict": 9}
    for name, loader in loaders.items():
        found = [
            int(i)
            for rank in range(world_size)
            for batch in loader(attached(birds(), global_rank=rank, world_size=world_size))
            for i in batch["index"]
        ]
        assert sorted(found) == list(range(sizes[name]))


def test_ranks_take_equally_many_training_steps() -> None:
    steps = [len(attached(birds(batch_size=3), global_rank=rank, world_size=3).train_dataloader()) for rank in range(3)]

    assert steps == [1, 1, 1]


def test_predict_split() -> None:
    data = birds(predict_split="val")

    assert sum(len(batch["index"]) for batch in data.predict_dataloader()) == 8
    with pytest.raises(DataError, match="has no split 'dev'; it has test, train, val"):
        birds(predict_split="dev").setup("predict")


def test_specification_before_setup() -> None:
    spec = birds(correlation=1.0).spec

    assert spec == DataSpec(
        name="synthetic_birds",
        variant="correlation1",
        class_names=("landbird", "waterbird"),
        attribute_names=("land", "water"),
        group_names=("landbird/land", "landbird/water", "waterbird/land", "waterbird/water"),
        image_size=(24, 24),
        train_group_counts=(7, 0, 0, 7),
        foreground="segmentation",
    )
    assert DataSpec.from_dict(spec.to_dict()) == spec


def test_fetch_is_the_evaluation_sample() -> None:
    data = birds()

    batch = data.fetch("train", [3, 0])

    assert batch["index"].tolist() == [3, 0]
    assert batch["image"].dtype == torch.float32
    assert torch.equal(batch["image"][0] * 255, data.dataset("train")[3]["image"].float())
    assert batch["foreground"].any()


def test_foreground_can_be_declined_but_not_invented() -> None:
    data = birds(foreground="none")

    assert data.spec.foreground == "none"
    assert not data.fetch("val", [0, 1])["has_foreground"].any()
    assert not data.fetch("val", [0, 1])["foreground"].any()
    with pytest.raises(DataError, match="foreground is 'box', but synthetic_birds here offers segmentation, none"):
        _ = birds(foreground="box").spec


def test_data_sets_with_a_signature_of_their_own_take_the_default_transforms() -> None:
    for data in (Manifest("nowhere"), Manifest("nowhere", train_transform=v2.RandAugment())):
        chosen = data.hparams["train_transform"]["class_path"]
        assert chosen == f"{'torchvision.transforms.v2.RandAugment' if data.pipeline.custom else TRAIN}"


def test_hyperparameters_are_plain_and_survive_a_checkpoint() -> None:
    hyperparameters = dict(birds(train_transform=TrainTransform((0.5, 1.0))).hparams)
    file = io.BytesIO()
    torch.save(hyperparameters, file)
    file.seek(0)

    assert torch.load(file, weights_only=True) == hyperparameters
    assert hyperparameters["train_transform"]["init_args"]["crop_scale"] == [0.5, 1.0]
    assert hyperparameters["train_size"] == 14


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        *(("seed", -1), ("shuffle_labels_seed", -1), ("num_workers", -1)),
        *(("image_size", 0), ("batch_size", 0), ("eval_batch_size", -3)),
    ],
)
def test_arguments_out_of_range(argument: str, value: float) -> None:
    with pytest.raises(DataError, match=f"{argument} is {value}; it must be at least [01]"):
        birds(**{argument: value})


def test_command_line_knows_every_argument() -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(ImageDataModule, "data")

    arguments = [
        "--data=SyntheticBirds",
        '--data.train_transform={"crop_scale":null}',
        "--data.correlation=0.9",
        "--data.batch_size=8",
    ]
    data = parser.instantiate(parser.parse_args(arguments)).data
    cropped = parser.parse_args(["--data=SyntheticBirds", "--data.train_transform.crop_scale=[0.2,1]"])
    cropped = cropped.data.init_args.train_transform.init_args.crop_scale

    renamed = parser.parse_args(
        [f"--data={Manifest.__name__}", "--data.csv=a.csv", "--data.columns.label=species"]
    ).data.init_args

    assert renamed.columns == {"label": "species"}
    assert isinstance(data, SyntheticBirds)
    assert (data.correlation, data.batch_size) == (0.9, 8)
    assert data.hparams["train_transform"]["init_args"]["crop_scale"] is None
    assert cropped == (0.2, 1.0)


RANKS = """
import sys
from pathlib import Path
from lightning.pytorch import Trainer
from tests.data.loading.test_datamodule import Counting, birds

class Writing(Counting):
    def write(self, stage, batch, index):
        name = f"{stage}-{self.current_epoch}-{self.global_rank}-{index}"
        Path(sys.argv[1], name).write_text(str(batch["index"].tolist()))

    def training_step(self, batch, index):
        self.write("train", batch, index)
        return super().training_step(batch, index)

    def validation_step(self, batch, index):
        self.write("val", batch, index)

quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
Trainer(
    accelerator="cpu", devices=2, strategy="ddp_fork", max_epochs=2, num_sanity_val_steps=0, **quiet
).fit(Writing(), datamodule=birds(train_size=15, val_size=9, batch_size=3))
"""


@pytest.mark.slow
def test_trainer_with_lightnings_own_samplers_switched_on(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3]), "OMP_NUM_THREADS": "1"}

    subprocess.run([sys.executable, "-c", RANKS, str(tmp_path)], check=True, timeout=240, env=environment)

    for epoch in (0, 1):
        seen = {
            stage: [i for path in sorted(tmp_path.glob(f"{stage}-{epoch}-*")) for i in json.loads(path.read_text())]
            for stage in ("train", "val")
        }
        assert sorted(seen["val"]) == list(range(9))  # each once, on shards of 5 and 4
        assert len(seen["train"]) == 12  # two steps of three on each rank
        assert len(set(seen["train"])) >= 11  # equal shards repeat at most one


def test_what_a_method_hides_is_black_in_training_and_nowhere_else() -> None:
    class Hiding(Counting):
        """Hides the upper half of the images in even rows."""

        def hides(self, row: int) -> Tensor:
            hidden = torch.zeros(24, 24, dtype=torch.bool)
            hidden[:12] = row % 2 == 0
            return hidden

    module, data = Hiding(), birds(train_transform=TrainTransform(crop_scale=None, flip=0.0))
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    Trainer(max_epochs=1, enable_model_summary=False, **quiet).fit(module, data)
    seen = {"train": 0, "val": 0}
    for stage, _, batch in module.seen:
        whole = data.fetch(stage, batch["index"].tolist())
        for row, image, original in zip(batch["index"].tolist(), batch["image"], whole["image"], strict=True):
            expected = original.clone()
            if stage == "train" and row % 2 == 0:
                expected[:, :12] = 0
            torch.testing.assert_close(image, expected, atol=1 / 255, rtol=0)
            seen[stage] += 1
        assert torch.equal(batch["foreground"], whole["foreground"]), "the foreground stays"
    assert seen["train"] >= 12
    assert seen["val"] >= 8


def test_through_a_custom_transform_nothing_can_be_hidden() -> None:
    data = birds(eval_transform=v2.Resize([24, 24]))
    method = SimpleNamespace(hides=lambda row: torch.zeros(24, 24, dtype=torch.bool))
    attached(data, lightning_module=method, global_rank=0, world_size=1)
    with pytest.raises(DataError, match="cannot be told through a custom eval_transform"):
        data.train_dataloader()
