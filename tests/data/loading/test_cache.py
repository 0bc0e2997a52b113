from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import DataLoader

from maskexp.data import DataError, Manifest, SyntheticBirds, WaterBirds
from maskexp.data.loading import cache as pixel_cache
from maskexp.data.loading.batches import BatchReader, collate
from maskexp.data.loading.cache import CachedPixels
from maskexp.data.manifest.table import ManifestTable
from maskexp.data.transforms import EvalTransform, TrainTransform
from tests.fixtures import COUNTS, resize_image, truncate, write_waterbirds

TURNED = TrainTransform(rotation=10.0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_waterbirds(tmp_path / "w")


def birds(root: Path, cache: bool = True, **arguments: object) -> WaterBirds:
    chosen: dict[str, object] = {"cache_dir": str(root.parent / "cache"), "cache": "memmap" if cache else None}
    chosen |= {"image_size": 24, "batch_size": 4, "num_workers": 0}
    return WaterBirds(str(root), **(chosen | arguments))  # type: ignore[arg-type]


def places(root: Path) -> list[Path]:
    return sorted(path for path in (root.parent / "cache/pixels").iterdir() if path.is_dir())


def cached(data: WaterBirds, split: str) -> CachedPixels:
    dataset = data.dataset(split)
    pixels = dataset.trainable if split == "train" else dataset.evaluated
    assert isinstance(pixels, CachedPixels)
    return pixels


@pytest.mark.parametrize(
    "arguments",
    [{}, {"eval_transform": EvalTransform("center_crop", 0.875)}, {"foreground": "none"}],
    ids=["defaults", "centre crop", "no foreground"],
)
def test_evaluation_is_the_same_to_the_last_bit(arguments: dict[str, object], root: Path) -> None:
    plain, quick = birds(root, cache=False, **arguments), birds(root, **arguments)

    for split in ("val", "test"):
        assert len(cached(quick, split).shapes) == sum(COUNTS[split])
        for index in range(sum(COUNTS[split])):
            expected, found = plain.dataset(split)[index], quick.dataset(split)[index]
            assert torch.equal(expected["image"], found["image"])
            assert torch.equal(expected["foreground"], found["foreground"])
            assert expected["has_foreground"] == found["has_foreground"] == ("foreground" not in arguments)
    assert torch.equal(plain.dataset("train")[3]["image"], quick.dataset("train")[3]["image"])
    assert cached(quick, "val").channels == (3 if "foreground" in arguments else 4)


def test_training_of_images_that_fit_is_the_same_to_the_last_bit(root: Path) -> None:
    plain, quick = birds(root, cache=False, train_transform=TURNED), birds(root, cache_size=500, train_transform=TURNED)

    for before, after in zip(plain.train_dataloader(), quick.train_dataloader(), strict=True):
        assert all(torch.equal(before[key], after[key]) for key in before)
    assert cached(quick, "train").read(0).shape[1:] == plain.dataset("train").pixels.read(0).shape[1:]
    assert quick.notes == plain.notes


def test_shrunk_training_images_are_a_note(root: Path) -> None:
    plain, quick = birds(root, cache=False), birds(root, cache_size=20)

    pixels = cached(quick, "train")

    assert {int(side) for side in pixels.shapes.min(1)} == {20}
    assert pixels.shapes.max() > 20  # the whole image, not its centre
    assert not torch.equal(plain.dataset("train")[1, 0]["image"], quick.dataset("train")[1, 0]["image"])
    assert torch.equal(
        quick.dataset("train")[1, 0]["image"], birds(root, cache_size=20).dataset("train")[1, 0]["image"]
    )
    assert [note for note in quick.notes if note not in plain.notes] == [
        "training crops come from a cache with a short side of 20 pixels, not from the files; this shrank 16 of 16 "
        "images"
    ]
    assert birds(root, image_size=224).cache_geometry.limit == 256


def test_pickle_leaves_the_pixels_behind(root: Path) -> None:
    pixels = cached(birds(root), "val")
    expected = pixels.read(2)

    pickled = pickle.dumps(pixels)

    assert len(pickled) < 3000 < expected.numel() * len(pixels.shapes)
    assert torch.equal(pickle.loads(pickled).read(2), expected)  # noqa: S301


@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_open_the_cache_themselves(context: str, root: Path) -> None:
    dataset = birds(root).dataset("val")
    expected = BatchReader(dataset).__getitems__(range(12))

    loader = DataLoader(BatchReader(dataset), 6, num_workers=2, collate_fn=collate, multiprocessing_context=context)

    assert torch.equal(torch.cat([batch["image"] for batch in loader]), expected["image"])


def test_nothing_is_cached_unasked_and_nothing_twice(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    birds(root, cache=False).setup("fit")
    assert not (root.parent / "cache/pixels").exists()

    birds(root).setup("fit")
    assert len(places(root)) == 2
    monkeypatch.setattr(pixel_cache.PixelCache, "_build", None)
    birds(root).setup("fit")


def test_other_geometry_other_cache(root: Path) -> None:
    for arguments in ({}, {"image_size": 20}, {"eval_transform": EvalTransform("center_crop")}, {"foreground": "none"}):
        birds(root, **arguments).dataset("val")  # type: ignore[arg-type]

    assert len(places(root)) == 4


def test_changed_files_are_noticed(root: Path) -> None:
    old = birds(root).dataset("val")[0]["image"]
    data = birds(root)
    first = data.table.split("val")[0]
    other = data.table.split("val")[-1]
    resized = resize_image(Path(shutil.copy(root / other.image, root / first.image)), (first.width, first.height))
    os.utime(resized, ns=(1, 1))

    with pytest.warns(
        UserWarning, match=r"cache/pixels/waterbirds-val-\w+ was made from files that have changed since"
    ):
        new = data.dataset("val")[0]["image"]

    assert not torch.equal(old, new)
    assert torch.equal(new, birds(root, cache=False).dataset("val")[0]["image"])


def shorten(place: Path) -> None:
    truncate(place / "images.u8")


def blank(place: Path) -> None:
    path = place / "images.u8"
    path.write_bytes(bytes(path.stat().st_size))


def garble(place: Path) -> None:
    truncate(place / "index.json")


def lose(place: Path) -> None:
    (place / "images.u8").unlink()


def drop_key(place: Path) -> None:
    index = json.loads((place / "index.json").read_text())
    del index["crc32"]
    (place / "index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (shorten, "is not complete"),
        (blank, "is damaged .image 0 differs from its checksum"),
        (garble, "is damaged .JSONDecodeError"),
        (lose, "is damaged .FileNotFoundError"),
        (drop_key, "is damaged .KeyError: 'crc32'"),
    ],
)
def test_damaged_caches_are_built_anew(damage: object, sentence: str, root: Path) -> None:
    expected = birds(root).dataset("val")[5]["image"]
    damage(places(root)[0])  # type: ignore[operator]

    with pytest.warns(UserWarning, match=rf"the cache \S+ {sentence}.*; it is built anew"):
        assert torch.equal(birds(root).dataset("val")[5]["image"], expected)


def test_what_ends_early_leaves_nothing(root: Path) -> None:
    data = birds(root)
    truncate(root / data.table.split("val")[-1].image)

    with pytest.raises(DataError, match="cannot be decoded"):
        data.dataset("val")

    assert [path.suffix for path in (root.parent / "cache/pixels").iterdir()] == [".lock"]


def test_missing_file(root: Path) -> None:
    data = birds(root)
    data.table  # noqa: B018  (built while the file is there)
    (root / data.table.split("val")[0].image).unlink()

    with pytest.raises(DataError, match=r"\.jpg is missing although the manifest lists it"):
        data.dataset("val")


def test_full_disk(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))

    sentence = (
        r"the cache of split 'val' \(its folder is MASKEXP_CACHE, or the argument cache_dir\) needs about 0\.0 MB "
        r"but the disk of \S+ has 0\.0 MB left; make room"
    )
    with pytest.raises(DataError, match=sentence):
        birds(root).dataset("val")
    assert not places(root)


def test_who_builds_is_told_of_other_caches_of_the_split(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    birds(root).setup("fit")
    assert not caplog.messages
    birds(root, image_size=20).dataset("val")
    birds(root).dataset("val")

    (message,) = caplog.messages
    expected = r"\S+/cache/pixels holds 0\.0 MB of other caches of waterbirds val \(1\); delete those that no run reads"
    assert re.fullmatch(expected, message)
    assert len(places(root)) == 3


def test_folder_that_cannot_be_written(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = birds(root)
    data.table  # noqa: B018  (the manifest is written before)
    (root.parent / "cache/pixels").write_text("in the way")

    with pytest.raises(DataError, match=r"cannot be written .* or omit `cache`"):
        data.dataset("val")


def test_of_several_one_builds(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    build = pixel_cache.PixelCache._build
    monkeypatch.setattr(
        pixel_cache.PixelCache,
        "_build",
        lambda *arguments: (built.append(1), build(*arguments)),  # type: ignore[func-returns-value]
    )
    ready = [birds(root) for _ in range(3)]
    assert all(isinstance(data.table, ManifestTable) for data in ready)
    threads = [threading.Thread(target=data.dataset, args=("val",)) for data in ready]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(built) == 1
    assert torch.equal(ready[0].dataset("val")[3]["image"], ready[2].dataset("val")[3]["image"])


def test_images_in_memory_are_refused() -> None:
    with pytest.raises(DataError, match="synthetic_birds lie in memory already, there is nothing to cache; omit"):
        SyntheticBirds(cache="memmap", train_size=4, val_size=4, test_size=4).setup("fit")


@pytest.mark.parametrize("arguments", [{"cache_size": 0, "cache": "memmap"}, {"cache_size": 256}])
def test_cache_size_without_sense(arguments: dict[str, object]) -> None:
    with pytest.raises(DataError, match=r"cache_size is \d+; it must be at least 1 and belongs to `cache: memmap`"):
        Manifest("nowhere", **arguments)  # type: ignore[arg-type]
