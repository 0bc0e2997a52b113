"""The base of all datamodules."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Literal

import torch
from jsonargparse.typing import lazy_instance
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, default_collate
from torchvision.transforms import v2

from maskexp.data.errors import DataError
from maskexp.data.loading.batches import BatchReader, collate
from maskexp.data.loading.cache import PixelCache
from maskexp.data.loading.dataset import ManifestDataset
from maskexp.data.loading.permuted_labels import permute_labels
from maskexp.data.loading.pixels import FilePixels, HiddenPixels, Pixels
from maskexp.data.loading.samplers import EpochSampler, GroupBalancedSampler, RepeatingSampler, ShardSampler
from maskexp.data.manifest.prepared import cache_folder
from maskexp.data.manifest.table import ManifestTable
from maskexp.data.transforms.geometry import EvalTransform, ShortSide, TrainTransform
from maskexp.data.transforms.pipeline import Pipeline
from maskexp.data.transforms.stored import described
from maskexp.process import end_workers_at_exit, ignore_stop_signals
from maskexp.types import Batch, DataSpec, ForegroundKind

__all__ = ["ImageDataModule"]

# Instances that a command line can describe, and whose arguments its flags change one by one.
DEFAULT_TRAIN: Final[TrainTransform] = lazy_instance(TrainTransform)
DEFAULT_EVAL: Final[EvalTransform] = lazy_instance(EvalTransform)


class ImageDataModule(LightningDataModule, ABC):
    """Loaders, transforms and specification of any data that comes as a manifest.

    A subclass declares its arguments and two methods: :meth:`build` returns the manifest, :meth:`pixels` says where the
    pixels of a split come from. The samplers made here know the ranks; evaluation never repeats a sample.

    Args:
        image_size: side in pixels of the square images that reach the network, at least 1.
        batch_size: samples per training step and process, at least 1.
        eval_batch_size: samples per evaluation step and process; ``batch_size`` if not given.
        num_workers: processes that load; they never change what is loaded.
        seed: of order and augmentation, at least 0.
        sampling: what an epoch of training consists of: ``shuffled`` shows every image once, ``group_balanced`` draws
            with replacement, each time any group and then any image of it. The latter needs the group labels of the
            training images.
        foreground: what the foreground is. If not given, segmentations where there are any, else boxes, else none.
        train_transform: how training changes images and masks; a torchvision v2 transform takes the place of all of it.
        eval_transform: how images are brought to ``image_size`` without any draw; a torchvision v2 transform has to
            leave squares of that size.
        test_split: split that takes the part of ``test``, for data with several of them.
        predict_split: split that ``predict`` runs over.
        shuffle_labels_seed: permute the labels of each split among its images, as a sanity check
            of explanations; the images stay.
        cache: ``memmap`` decodes every image once and keeps the pixels beside the manifests (``$MASKEXP_CACHE``, or
            ``cache_dir`` where a data set has it). Evaluation sees the same pixels to the last bit; training crops from
            images whose short side is ``cache_size`` at most, which ``notes`` say where it changes any. Nothing
            removes caches of earlier settings; who builds another one of a split is told how much they take.
        cache_size: short side in pixels of the training images in the cache; 8/7 of ``image_size`` if not given (256
            for 224). Smaller images are kept as they are.

    Raises:
        DataError: if an argument is out of range.
    """

    cache_dir: str | None = None

    def __init__(
        self,
        *,
        image_size: int = 224,
        batch_size: int = 32,
        eval_batch_size: int | None = None,
        num_workers: int = 2,
        seed: int = 0,
        sampling: Literal["shuffled", "group_balanced"] = "shuffled",
        foreground: ForegroundKind | None = None,
        train_transform: TrainTransform | v2.Transform = DEFAULT_TRAIN,
        eval_transform: EvalTransform | v2.Transform = DEFAULT_EVAL,
        test_split: str = "test",
        predict_split: str = "test",
        shuffle_labels_seed: int | None = None,
        cache: Literal["memmap"] | None = None,
        cache_size: int | None = None,
    ) -> None:
        super().__init__()
        sizes = {"image_size": image_size, "batch_size": batch_size, "eval_batch_size": eval_batch_size}
        for name, value in sizes.items():
            _require_at_least(1, name, value)
        for name, value in {
            "num_workers": num_workers,
            "seed": seed,
            "shuffle_labels_seed": shuffle_labels_seed,
        }.items():
            _require_at_least(0, name, value)
        if sampling not in ("shuffled", "group_balanced"):
            raise DataError(f"sampling is {sampling!r}; choose shuffled or group_balanced")
        if cache_size is not None and (cache is None or cache_size < 1):
            raise DataError(f"cache_size is {cache_size}; it must be at least 1 and belongs to `cache: memmap`")
        defaults = {
            "train_transform": train_transform is DEFAULT_TRAIN,
            "eval_transform": eval_transform is DEFAULT_EVAL,
        }
        train_transform = TrainTransform() if train_transform is DEFAULT_TRAIN else train_transform
        eval_transform = EvalTransform() if eval_transform is DEFAULT_EVAL else eval_transform
        self.pipeline = Pipeline(image_size, seed, train_transform, eval_transform)
        # Kept in checkpoints, so that they say how their images were prepared; the logger gets the run's whole config.
        self.save_hyperparameters(logger=False, ignore=[name for name, unset in defaults.items() if unset])
        self.hparams.update({name: str(value) for name, value in self.hparams.items() if isinstance(value, Path)})
        transforms = {"train_transform": train_transform, "eval_transform": eval_transform}
        # A command line has told Lightning what it was given, in plain types; otherwise these are the objects.
        given = {name: self.hparams.get(name) for name in transforms}
        self.hparams.update(
            {name: given[name] if isinstance(given[name], dict) else described(transforms[name]) for name in transforms}
        )
        self.image_size = image_size
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size or batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.sampling = sampling
        self.test_split = test_split
        self.predict_split = predict_split
        self.shuffle_labels_seed = shuffle_labels_seed
        self.cache = cache
        self.cache_geometry = ShortSide(cache_size or round(image_size * 8 / 7))
        self._requested_foreground = foreground
        self._table: ManifestTable | None = None
        self._effective_table: ManifestTable | None = None
        self._datasets: dict[str, ManifestDataset] = {}

    @abstractmethod
    def build(self) -> ManifestTable:
        """Return the manifest of the data."""

    @abstractmethod
    def pixels(self, split: str) -> Pixels:
        """Return where the pixels of a split come from."""

    @property
    def table(self) -> ManifestTable:
        """The manifest, built when it is first asked for."""
        if self._table is None:
            self._table = self.build()
        return self._table

    @property
    def effective_table(self) -> ManifestTable:
        """The manifest with the labels that are learned and judged by: its own, or permuted ones."""
        if self._effective_table is None:
            seed = self.shuffle_labels_seed
            self._effective_table = self.table if seed is None else permute_labels(self.table, seed)
        return self._effective_table

    @property
    def foreground(self) -> ForegroundKind:
        """What the foreground is, after the data was looked at.

        Raises:
            DataError: if the kind that was asked for is nowhere in the data.
        """
        available: list[ForegroundKind] = ["none"]
        if any(row.box for row in self.table.rows):
            available.insert(0, "box")
        if self.table.card.mask_kind != "none":
            available.insert(0, "segmentation")
        if self._requested_foreground is None:
            return available[0]
        if self._requested_foreground not in available:
            raise DataError(
                f"foreground is {self._requested_foreground!r}, but {self.table.card.name} here offers "
                f"{', '.join(available)}"
            )
        return self._requested_foreground

    @property
    def spec(self) -> DataSpec:
        """What the data is; can be asked for at any time."""
        card = self.effective_table.card
        return DataSpec(
            name=card.name,
            variant=card.variant,
            class_names=card.classes,
            attribute_names=card.attributes,
            group_names=card.group_names,
            image_size=(self.image_size, self.image_size),
            train_group_counts=self.effective_table.counts("train") if card.attributes else (),
            foreground=self.foreground,
        )

    @property
    def digest(self) -> str:
        """sha256 of the manifest, with the labels that are in force."""
        return self.effective_table.digest

    @property
    def notes(self) -> list[str]:
        """What every output made from this data has to say."""
        return [*self.effective_table.card.notes, *self._notes_of_cache()]

    def dataset(self, split: str) -> ManifestDataset:
        """Return one split; ``test`` is the split that was chosen to take its part.

        Raises:
            DataError: if there is no such split.
        """
        split = self.test_split if split == "test" else split
        if split not in self._datasets:
            self.table.split(split)
            pixels = self.pixels(split)
            if isinstance(pixels, FilePixels):
                pixels.require_meaning(split)
            cached = None if self.cache is None else self._cached(split, pixels)
            self._datasets[split] = ManifestDataset(
                self.effective_table,
                split,
                pixels,
                self.pipeline,
                evaluated=None if split == "train" else cached,
                trainable=cached if split == "train" else None,
            )
        return self._datasets[split]

    def fetch(self, split: str, indices: Sequence[int]) -> Batch:
        """Return the samples ``indices`` of a split as evaluation sees them, image float in [0, 1], on the CPU."""
        dataset = self.dataset(split)
        batch: Batch = default_collate([dataset[int(index)] for index in indices])
        batch["image"] = batch["image"].float() / 255
        return batch

    def prepare_data(self) -> None:
        """Build the manifest once per machine, so that the other processes find it."""
        self.build()

    def setup(self, stage: str) -> None:
        """Open the splits of a stage: ``fit``, ``validate``, ``test`` or ``predict``.

        A trainer with ``limit_val_batches: 0`` needs no split to validate on.
        """
        validated = self.trainer is None or self.trainer.limit_val_batches != 0
        fitted = ("train", "val") if validated else ("train",)
        splits = {"fit": fitted, "validate": ("val",), "test": ("test",), "predict": (self.predict_split,)}
        for split in splits[stage]:
            self.dataset(split)
        if stage == "fit":
            self._train_sampler()
        self._check_transforms(stage)

    def train_dataloader(self) -> DataLoader[Any]:
        """Return augmented samples in random order; an incomplete last batch is left out.

        A method may say in ``hides`` what of an image is to be black, by its row.

        Raises:
            DataError: if it does, and nobody knows where a custom transform of evaluation puts the pixels of an image.
        """
        sampler, dataset = self._train_sampler(), self.dataset("train")
        method = getattr(self.trainer, "lightning_module", None)
        if (hides := getattr(method, "hides", None)) is not None:
            hidden = HiddenPixels(dataset.trainable, hides, self.geometry_to_hide_by(method))
            dataset = ManifestDataset(self.effective_table, "train", dataset.pixels, self.pipeline, trainable=hidden)
        return self._loader(dataset, sampler, self.batch_size, drop_last=len(sampler) >= self.batch_size)

    def val_dataloader(self) -> DataLoader[Any]:
        """Return the validation split, each sample once."""
        return self.evaluation_loader("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """Return the test split, each sample once."""
        return self.evaluation_loader("test")

    def predict_dataloader(self) -> DataLoader[Any]:
        """Return ``predict_split``, each sample once."""
        return self.evaluation_loader(self.predict_split)

    def evaluation_loader(self, split: str) -> DataLoader[Any]:
        """Return a split, this rank's share of it, each sample once as evaluation sees it, images uint8."""
        dataset = self.dataset(split)
        sampler = ShardSampler(len(dataset), *self._rank())
        return self._loader(dataset, sampler, self.eval_batch_size, drop_last=False)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Turn images into floats in [0, 1] on the device; in training, change their colours and mix them."""
        batch = {**batch, "image": batch["image"].to(torch.float32, copy=True).div_(255)}
        if self.trainer is not None and self.trainer.training:
            batch = self.pipeline.on_batch(batch, self.trainer.current_epoch, len(self.table.card.classes))
        return batch

    def geometry_to_hide_by(self, method: object) -> EvalTransform:
        """Return the geometry by which what a network looks at is found in the files.

        Raises:
            DataError: if it is a custom one, through which nothing is found.
        """
        geometry = self.pipeline.evaluation
        if not isinstance(geometry, EvalTransform) or "eval" in self.pipeline.custom:
            raise DataError(
                f"{type(method).__name__} hides what the network looks at in the files, and where that is cannot be "
                "told through a custom eval_transform; omit it"
            )
        return geometry

    def check_labels_for(self, method: object) -> None:
        """Refuse labels that a method cannot learn from.

        Raises:
            DataError: if training mixes images, and the method takes no soft labels.
        """
        if self.pipeline.soft_labels and not getattr(method, "soft_labels", False):
            raise DataError(
                f"{type(method).__name__} cannot learn from the soft labels that train_transform.mix makes; omit mix"
            )

    def _check_transforms(self, stage: str) -> None:
        """Refuse before the first step a custom transform that cannot work, and labels that the method cannot use."""
        if stage == "fit" and self.pipeline.soft_labels:
            self.pipeline.check_mixing(len(self.table.card.classes))
            method = None if self.trainer is None else self.trainer.lightning_module
            if method is not None:
                self.check_labels_for(method)
        for split, dataset in self._datasets.items():
            if ("train" if split == "train" else "eval") in self.pipeline.custom:
                dataset.transformed((0, 0) if split == "train" else 0)

    def _cached(self, split: str, pixels: Pixels) -> Pixels:
        """Open the cache of a split: training needs whole images, all others are stored as evaluation sees them."""
        if not isinstance(pixels, FilePixels):
            raise DataError(
                f"the images of {self.table.card.name} lie in memory already, there is nothing to cache; omit `cache`"
            )
        folder, workers = cache_folder(self.cache_dir), max(self.num_workers, 1)
        if split == "train":
            geometry = self.cache_geometry
            key = {"name": "ShortSide", **asdict(geometry)}
            cache = PixelCache(folder, self.table, split, pixels, geometry, key, geometry.output_size, workers)
        else:
            side, pipeline = self.image_size, self.pipeline
            cache = PixelCache(
                *(folder, self.table, split, pixels, pipeline.evaluate, pipeline.evaluation_key),
                *(lambda height, width: (side, side), workers),
            )
        return cache.open()

    def _notes_of_cache(self) -> list[str]:
        """Say how many training images the cache changes."""
        if self.cache is None or "train" not in self.table.splits:
            return []
        rows = self.table.split("train")
        # A size of 0 is unknown, and may be a large one.
        changed = sum(not row.width or self.cache_geometry.shrinks(row.height, row.width) for row in rows)
        if not changed:
            return []
        return [
            f"training crops come from a cache with a short side of {self.cache_geometry.limit} pixels, not from the "
            f"files; this shrank {changed} of {len(rows)} images"
        ]

    def _train_sampler(self) -> EpochSampler:
        """Return the order of training; a method may say in ``repeats`` how often an epoch shows each image.

        Raises:
            DataError: if groups are to be balanced of which there are none, or one of which has no training image, or
                if the method wants another order.
        """
        dataset, place = self.dataset("train"), (self.seed, *self._rank())
        method = getattr(self.trainer, "lightning_module", None)
        if (repeats := getattr(method, "repeats", None)) is not None:
            if self.sampling != "shuffled":
                raise DataError(
                    f"{type(method).__name__} says how often an epoch shows each image, and so does sampling "
                    f"{self.sampling}; omit it"
                )
            return RepeatingSampler(repeats, *place)
        if self.sampling == "group_balanced":
            return GroupBalancedSampler(dataset.group, self.table.card.group_names, *place)
        return EpochSampler(len(dataset), *place)

    def _loader(
        self, dataset: ManifestDataset, sampler: EpochSampler | ShardSampler, batch_size: int, drop_last: bool
    ) -> DataLoader[Any]:
        if self.num_workers > 0:
            end_workers_at_exit()
        return DataLoader(
            BatchReader(dataset),
            batch_size=batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available(),
            drop_last=drop_last,
            persistent_workers=self.num_workers > 0,
            worker_init_fn=ignore_stop_signals,
        )

    def _rank(self) -> tuple[int, int]:
        """Return rank and number of processes."""
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)


def _require_at_least(least: int, name: str, value: int | None) -> None:
    if value is not None and value < least:
        raise DataError(f"{name} is {value}; it must be at least {least}")
