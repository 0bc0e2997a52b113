from __future__ import annotations

import csv
import multiprocessing
import os
import shutil
from pathlib import Path

import pytest
import torch

from maskexp.data import CorruptImageError, DataError, DatasetNotFoundError, WaterBirds
from maskexp.data.datasets.waterbirds import KNOWN_COUNTS, WaterBirdsLayout
from maskexp.data.manifest import layout
from maskexp.data.manifest.check import check_data
from maskexp.data.manifest.prepared import cache_folder
from maskexp.data.transforms.geometry import EvalTransform
from tests.fixtures import COUNTS, corrupt_metadata, resize_image, truncate, write_cub, write_waterbirds


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MASKEXP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_waterbirds(tmp_path / "waterbirds")


def open_all(root: Path, **arguments: object) -> WaterBirds:
    return WaterBirds(str(root), image_size=24, num_workers=0, **arguments)


def test_groups_labels_and_masks(root: Path) -> None:
    data = open_all(root)

    for split, counts in COUNTS.items():
        dataset = data.dataset(split)
        assert tuple(dataset.group_counts()) == counts
        assert (dataset.group == 2 * dataset.label + dataset.attribute).all()
        assert dataset.has_foreground.all()
        for sample in (dataset[index] for index in range(len(dataset))):
            assert 0.02 < sample["foreground"].float().mean() < 0.5
    assert data.spec.foreground == "segmentation"
    assert data.spec.train_group_counts == COUNTS["train"]
    assert data.spec.group_names == ("landbird/land", "landbird/water", "waterbird/land", "waterbird/water")


def test_labels_come_from_the_metadata(root: Path) -> None:
    with (root / "metadata.csv").open() as file:
        lines = {line["img_id"]: line for line in csv.DictReader(file)}
    dataset = open_all(root).dataset("test")

    assert [lines[identity]["split"] for identity in dataset.ids] == ["2"] * len(dataset)
    assert [int(lines[identity]["y"]) for identity in dataset.ids] == dataset.label.tolist()
    assert [int(lines[identity]["place"]) for identity in dataset.ids] == dataset.attribute.tolist()


def test_grey_images_get_three_equal_channels(root: Path) -> None:
    data = open_all(root)
    grey = data.dataset("train").ids.tolist().index("1")

    image = data.dataset("train")[grey]["image"]

    assert torch.equal(image[0], image[1])
    assert torch.equal(image[0], image[2])


def test_mislabelled_species_are_flagged_and_noted(root: Path) -> None:
    data = open_all(root)

    for split in COUNTS:
        dataset = data.dataset(split)
        assert [("Eastern_Towhee" in row.image) for row in data.table.split(split)] == (
            dataset.flags == "mislabeled"
        ).tolist()
        assert (dataset.flags == "mislabeled").sum() == 1
    assert any(note.startswith("3 land birds (Eastern Towhee") for note in data.notes)


def test_corrected_labels_are_not_flagged(root: Path) -> None:
    text = (root / "metadata.csv").read_text()
    (root / "metadata.csv").write_text(
        "\n".join(line.replace(".jpg,1,", ".jpg,0,", 1) if "Towhee" in line else line for line in text.splitlines())
    )

    data = open_all(root)

    assert not (data.dataset("test").flags == "mislabeled").any()
    assert not any("Towhee" in note for note in data.notes)


def write_layout(root: Path, counts: dict[str, tuple[int, int, int, int]]) -> Path:
    """Write metadata of any size whose lines share one image per group."""
    write_waterbirds(root, dict.fromkeys(("train", "val", "test"), (1, 1, 1, 1)))
    with (root / "metadata.csv").open() as file:
        examples = {2 * int(line["y"]) + int(line["place"]): line for line in csv.DictReader(file)}
    identity = 0
    with (root / "metadata.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(examples[0]))
        writer.writeheader()
        for split, name in enumerate(("train", "val", "test")):
            for group, count in enumerate(counts[name]):
                for _ in range(count):
                    identity += 1
                    writer.writerow(examples[group] | {"img_id": identity, "split": split})
    return root


@pytest.mark.parametrize("release", KNOWN_COUNTS)
def test_known_releases_are_recognised(release: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "_measured", lambda _, row: row)
    data = open_all(write_layout(tmp_path / "w", KNOWN_COUNTS[release]))

    assert data.spec.variant == release
    assert data.spec.train_group_counts == KNOWN_COUNTS[release]["train"]
    assert not any("custom" in note for note in data.notes)
    assert any("lacks groups" in note for note in data.notes) == (release == "complete100")


def test_one_image_more_makes_a_release_custom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "_measured", lambda _, row: row)
    counts = KNOWN_COUNTS["complete95"] | {"val": (467, 466, 133, 134)}

    data = open_all(write_layout(tmp_path / "w", counts))

    assert data.spec.variant == "custom"
    assert "(train is complete95, but val has 467/466/133/134 instead of 467/466/133/133)" in data.notes[0]


def test_other_counts_are_custom(root: Path) -> None:
    data = open_all(root)

    assert data.spec.variant == "custom"
    assert data.notes[0].startswith("variant custom: the group counts (train 6/2/2/6) differ from every known release")


@pytest.mark.parametrize("name", ["waterbirds_v1.0", "waterbird_complete95_forest2water2"])
def test_root_may_be_the_folder_above(name: str, tmp_path: Path) -> None:
    write_waterbirds(tmp_path / "above" / name)

    assert open_all(tmp_path / "above").spec.train_group_counts == COUNTS["train"]


def test_two_releases_in_one_folder(tmp_path: Path) -> None:
    for name in ("waterbirds_v1.0", "waterbird_complete95_forest2water2"):
        write_waterbirds(tmp_path / "above" / name)

    with pytest.raises(DataError, match="holds several releases of WaterBirds; point root at one"):
        _ = open_all(tmp_path / "above").spec


@pytest.mark.parametrize("beside", [False, True])
def test_foreground_of_cub(beside: bool, root: Path, tmp_path: Path) -> None:
    before = open_all(root).fetch("test", [0, 1])["foreground"]
    cub = write_cub(tmp_path / "CUB_200_2011", root, beside=beside)

    assert open_all(root).spec.foreground == "none"
    assert torch.equal(open_all(root, cub_root=str(cub)).fetch("test", [0, 1])["foreground"], before)
    boxes = open_all(root, cub_root=str(cub), foreground="box", eval_transform=EvalTransform(resize="center_crop"))
    assert boxes.spec.foreground == "box"
    assert boxes.dataset("test").has_foreground.all()
    first = boxes.table.split("test")[0]
    assert first.box == (4.0, 5.0, 24.0, 5.0 + 10 + int(first.id) % 7)


def test_boxes_are_the_foreground_where_there_are_no_segmentations(root: Path, tmp_path: Path) -> None:
    cub = write_cub(tmp_path / "CUB_200_2011", root)

    data = open_all(root, bounding_boxes=str(cub / "bounding_boxes.txt"))

    assert data.spec.foreground == "box"
    assert data.fetch("test", [0])["foreground"].any()


def test_images_without_segmentation_are_counted(root: Path) -> None:
    min((root / "segmentations").glob("*/*.png")).unlink()

    data = open_all(root)

    assert "1 of 39 images have no segmentation" in data.notes
    assert sum((~data.dataset(split).has_foreground).sum() for split in COUNTS) == 1


def write_parts(root: Path) -> Path:
    """Write ``test_fg`` and ``test_bg``, as the generator does."""
    with (root / "metadata.csv").open() as file:
        names = [line["img_filename"] for line in csv.DictReader(file) if line["split"] == "2"]
    for part in ("test_fg", "test_bg"):
        for name in names:
            (root / part / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / name, root / part / name)
    return root


def test_birds_alone_and_scenes_alone(root: Path) -> None:
    data = open_all(write_parts(root), test_split="test_bg")
    test, birds, scenes = (data.table.split(split) for split in ("test", "test_fg", "test_bg"))

    assert [row.image for row in birds] == [f"test_fg/{row.image}" for row in test]
    assert [row.pair_id for row in scenes] == [row.pair_id for row in test]
    assert [row.mask for row in birds] == [row.mask for row in test]
    assert not data.dataset("test").has_foreground.any()  # the part of `test` is taken by test_bg
    assert data.table.counts("test_fg") == COUNTS["test"]
    assert data.spec.variant == "custom"
    assert open_all(root).dataset("test").has_foreground.all()
    assert check_data("WaterBirds", root=root, decode=True).ok


def test_scenes_alone_have_no_boxes(root: Path, tmp_path: Path) -> None:
    data = open_all(write_parts(root), cub_root=str(write_cub(tmp_path / "CUB_200_2011", root)), foreground="box")

    assert data.dataset("test_fg").has_foreground.all()
    assert not data.dataset("test_bg").has_foreground.any()


def test_parts_that_are_not_whole(root: Path) -> None:
    min((write_parts(root) / "test_fg").glob("*/*.jpg")).unlink()

    with pytest.raises(DataError, match=r"test_fg/\S+ is missing although metadata\.csv lists it"):
        open_all(root).prepare_data()


# --- bad input -------------------------------------------------------------------------------------------------------


def test_missing_root(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError) as caught:
        open_all(tmp_path / "nowhere").prepare_data()

    assert f"looked for  {tmp_path}/nowhere\n" in str(caught.value)
    assert "waterbird_complete95_forest2water2.tar.gz" in str(caught.value)
    assert "--data.root" in str(caught.value)


def test_missing_metadata(root: Path) -> None:
    (root / "metadata.csv").unlink()

    with pytest.raises(DatasetNotFoundError, match=r"looked for  \S+/waterbirds/metadata\.csv"):
        open_all(root).prepare_data()


@pytest.mark.parametrize("argument", ["cub_root", "segmentations", "bounding_boxes"])
def test_missing_foreground_that_was_asked_for(argument: str, root: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=rf"not found(.|\n)*nowhere(.|\n)*--data\.{argument}"):
        open_all(root, **{argument: str(tmp_path / "nowhere")}).prepare_data()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "place,",
            "background,",
            r"metadata\.csv lacks the column 'place'; it has img_id, img_filename, y, split, back",
        ),
        (".jpg,0,0,0,", ".jpg,2,0,0,", r"metadata\.csv, line 2: y is '2', out of range; it must be 0 \(land bird\), 1"),
        (".jpg,0,0,0,", ".jpg,0,3,0,", "line 2: split is '3', out of range; it must be 0 "),
        (".jpg,0,0,0,", ".jpg,0,0,,", "line 2: place is '', out of range"),
        ("\n2,", "\n1,", "id '1' occurs twice in split 'train'"),
        ("Thrasher_0001", "Thrasher_9999", r"Brown_Thrasher_9999\.jpg is missing although metadata\.csv lists it"),
    ],
)
def test_damaged_metadata(old: str, new: str, message: str, root: Path) -> None:
    corrupt_metadata(root, old, new)

    with pytest.raises(DataError, match=message):
        open_all(root).prepare_data()


def test_mask_of_another_size(root: Path) -> None:
    mask = resize_image(min((root / "segmentations").glob("*/*.png")), (20, 30))

    with pytest.raises(DataError, match=rf"mask {mask} has 20x30 pixels but its image \S+jpg has \d+x\d+; they must"):
        open_all(root).prepare_data()


def test_damaged_boxes(root: Path, tmp_path: Path) -> None:
    (tmp_path / "boxes.txt").write_text("1 2.0 3.0 4.0 5.0\n2 3.0 nonsense\n")

    with pytest.raises(DataError, match=r"boxes\.txt, line 2: '2 3\.0 nonsense' is not 'id x y width height'"):
        open_all(root, bounding_boxes=str(tmp_path / "boxes.txt")).prepare_data()


@pytest.mark.parametrize("num_workers", [0, 1])
def test_truncated_image(num_workers: int, root: Path) -> None:
    path = truncate(min(root.glob("001*/*_0016.jpg")))
    data = WaterBirds(str(root), image_size=24, num_workers=num_workers)
    data.setup("fit")

    with pytest.raises(CorruptImageError) as caught:
        list(data.train_dataloader())

    assert str(caught.value).startswith(f"{path} cannot be decoded: it is damaged")
    assert "\n" not in str(caught.value)


# --- the kept manifest -----------------------------------------------------------------------------------------------


def test_manifest_is_built_once(root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = open_all(root)
    first.prepare_data()
    monkeypatch.setattr(WaterBirdsLayout, "build", lambda _: pytest.fail("built twice"))

    again = open_all(root)

    assert again.digest == first.digest
    assert again.table.rows == first.table.rows
    assert [path.name.split("-")[0] for path in (cache / "manifests").iterdir()] == ["waterbirds"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_root_that_cannot_be_written(root: Path) -> None:
    root.chmod(0o500)
    try:
        open_all(root).prepare_data()
    finally:
        root.chmod(0o700)


def test_nothing_is_written_into_the_root(root: Path) -> None:
    before = sorted(root.rglob("*"))

    open_all(root).prepare_data()

    assert sorted(root.rglob("*")) == before


@pytest.mark.parametrize("change", ["metadata", "image", "mask"])
def test_changed_sources_are_noticed(change: str, root: Path) -> None:
    before = open_all(root).digest
    if change == "metadata":
        corrupt_metadata(root, "/f/00000001.jpg", "/f/other.jpg")
    elif change == "image":
        (root / "149.Brown_Thrasher/Brown_Thrasher_0001.jpg").unlink()
    else:
        (root / "segmentations/149.Brown_Thrasher/Brown_Thrasher_0001.png").unlink()

    if change == "image":
        with pytest.raises(DataError, match="is missing"):
            open_all(root).prepare_data()
    else:
        assert open_all(root).digest != before


def test_digest_does_not_depend_on_the_place(root: Path, tmp_path: Path) -> None:
    elsewhere = write_waterbirds(tmp_path / "elsewhere")

    assert open_all(elsewhere, cache_dir=str(tmp_path / "other")).digest == open_all(root).digest


def build(root: Path) -> str:
    return open_all(root).digest


def test_builders_at_the_same_time(root: Path, cache: Path) -> None:
    with multiprocessing.get_context("fork").Pool(4) as pool:
        digests = pool.map(build, [root] * 8, chunksize=1)

    assert len(set(digests)) == 1
    assert len(list((cache / "manifests").iterdir())) == 1  # and no partial folder is left


def test_cache_that_cannot_be_written(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(DataError, match=r"cannot be written to \S+file.*set MASKEXP_CACHE or the argument cache_dir"):
        open_all(root, cache_dir=str(tmp_path / "file")).prepare_data()


def test_place_of_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKEXP_CACHE", "/a")
    assert cache_folder("/b") == Path("/b")
    assert cache_folder() == Path("/a")
    monkeypatch.delenv("MASKEXP_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    assert cache_folder() == Path("/c/maskexp")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache/maskexp"


def test_real_photographs(shared: Path) -> None:
    data = WaterBirds(str(shared / "data/waterbirds-real95"), image_size=64, num_workers=0)

    assert data.spec.variant == "custom"
    assert [data.table.counts(split) for split in ("train", "val", "test")] == [
        (1633, 86, 25, 470),
        (213, 212, 59, 60),
        (1082, 1082, 309, 309),
    ]
    batch = data.fetch("test", range(0, 2782, 100))
    assert batch["has_foreground"].all()
    assert 0.05 < batch["foreground"].float().mean() < 0.5
