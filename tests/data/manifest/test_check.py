from __future__ import annotations

import inspect
import json
import shutil
from pathlib import Path

import docstring_parser
import numpy as np
import pytest
from PIL import Image

import maskexp.data
from maskexp.cli.data import _kind
from maskexp.data import DataError
from maskexp.data.datasets.waterbirds import WaterBirdsLayout
from maskexp.data.manifest.check import Report, check, check_data
from maskexp.data.manifest.prepared import Prepared
from maskexp.data.manifest.table import Card, ManifestTable, Row
from maskexp.data.registry import SOURCES, arguments_of
from tests.data.loading.test_image_files import with_exif
from tests.fixtures import (
    COUNTS,
    corrupt_metadata,
    resize_image,
    truncate,
    write_celeba,
    write_csv,
    write_cub,
    write_cub_tree,
    write_waterbirds,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_waterbirds(tmp_path / "waterbirds")


def errors(report: Report) -> dict[str, tuple[str, ...]]:
    return {finding.kind: finding.items for finding in report.findings if finding.severity == "error"}


def warnings(report: Report) -> dict[str, tuple[str, ...]]:
    return {finding.kind: finding.items for finding in report.findings if finding.severity == "warning"}


def test_sound_data(root: Path) -> None:
    report = check_data("WaterBirds", root=root, decode=True)

    assert report.ok
    assert not warnings(report)
    assert report.counts == COUNTS
    assert report.variant == "custom"
    assert any("differ from every known release" in finding.message for finding in report.findings)
    assert json.loads(json.dumps(report.to_dict()))["ok"] is True


def test_everything_that_is_wrong_is_listed_at_once(root: Path) -> None:
    images = sorted(root.glob("[01]*/*.jpg"))
    masks = sorted((root / "segmentations").glob("*/*.png"))
    images[0].unlink()
    truncate(images[1])
    resize_image(masks[2], (3, 4))
    with Image.open(masks[3]) as mask:
        size = mask.size
    Image.new("L", size, 0).save(masks[3])
    Image.new("L", size, 255).save(masks[4])
    masks[5].unlink()

    report = check_data("WaterBirds", root=root, decode=True)

    assert not report.ok
    assert set(errors(report)) == {"missing", "corrupt", "mask_size"}
    assert errors(report)["missing"] == (str(images[0]),)
    assert errors(report)["corrupt"][0].startswith(str(images[1]))
    assert errors(report)["mask_size"][0].startswith(f"{masks[2]}: 3x4, image ")
    assert warnings(report) == {"mask_empty": (str(masks[3]),), "mask_full": (str(masks[4]),)}
    assert [len(finding.items) for finding in report.findings if finding.kind == "mask_none"] == [1]


def test_truncated_files_need_decoding(root: Path) -> None:
    truncate(sorted(root.glob("[01]*/*.jpg"))[1])

    assert "corrupt" not in errors(check_data("WaterBirds", root=root))
    assert "corrupt" in errors(check_data("WaterBirds", root=root, decode=True))


@pytest.mark.parametrize("workers", [1, 4])
def test_order_does_not_depend_on_threads(workers: int, root: Path) -> None:
    for path in sorted(root.glob("[01]*/*.jpg"))[:9]:
        path.unlink()

    missing = errors(check_data("WaterBirds", root=root, workers=workers))["missing"]

    assert len(missing) == 9
    assert missing == errors(check_data("WaterBirds", root=root, workers=8))["missing"]


def test_boxes(root: Path, tmp_path: Path) -> None:
    cub = write_cub(tmp_path / "CUB_200_2011", root)
    lines = (cub / "bounding_boxes.txt").read_text().splitlines()
    lines[0], lines[1] = "1 4.0 5.0 0.0 10.0", "2 4.0 5.0 400.0 10.0"
    (cub / "bounding_boxes.txt").write_text("\n".join(lines))

    report = check_data("WaterBirds", root=root, cub_root=cub)

    assert errors(report) == {"box_empty": ("train 1: 4 5 4 15 in 37x50",)}
    assert warnings(report) == {"box_outside": ("train 2: 4 5 404 15 in 61x33",)}


# --- counts ----------------------------------------------------------------------------------------------------------


def test_published_counts_must_be_met(tmp_path: Path) -> None:
    root = write_cub_tree(tmp_path / "CUB_200_2011")
    report = check_data("CUB", root=root)

    assert not report.ok
    assert [finding.message.split(";")[0] for finding in report.findings if finding.kind == "counts"] == [
        "train has 15 images, but official has 5994",
        "test has 6 images, but official has 5794",
    ]
    assert "(--custom)" in report.findings[0].message
    assert check_data("CUB", root=root, custom=True).ok


def test_inferred_counts_are_a_warning(tmp_path: Path) -> None:
    report = check_data("CelebA", root=write_celeba(tmp_path))

    assert report.ok
    assert (
        len([finding for finding in report.findings if (finding.kind, finding.severity) == ("counts", "warning")]) == 3
    )
    assert "but official has 71629/66874/22880/1387 (inferred, not published)" in report.findings[0].message
    assert not warnings(check_data("CelebA", root=tmp_path, spurious="Smiling"))


def test_a_release_is_claimed_by_the_name_of_its_folder(tmp_path: Path) -> None:
    named = check_data("WaterBirds", root=write_waterbirds(tmp_path / "waterbird_complete95_forest2water2"))

    found = {finding.severity: finding.message for finding in named.findings if finding.kind == "counts"}
    assert found["error"].startswith("test has 3/3/2/3 images, but complete95 has 2255/2255/642/642; extract")
    assert found["warning"].startswith("val has 3/3/3/3 images, but complete95 has 467/466/133/133 (inferred")


# --- what is stored how ----------------------------------------------------------------------------------------------


def test_unusual_files_are_listed(root: Path) -> None:
    images = sorted(root.glob("[01]*/*.jpg"))
    masks = sorted((root / "segmentations").glob("*/*.png"))
    with Image.open(images[3]) as image:
        image.save(images[3], format="PNG")
        image.convert("CMYK").save(images[4])
    with Image.open(masks[4]) as mask:
        (size, colours) = mask.size, mask.convert("RGB")
    Image.new("CMYK", size).save(images[4])
    colours.save(masks[4])

    report = check_data("WaterBirds", root=root, decode=True)
    notes = {finding.kind: finding.items for finding in report.findings if finding.severity == "note"}

    assert report.ok
    assert notes["image_format"] == (f"{images[3]}: PNG",)
    assert f"{images[4]}: CMYK" in notes["image_mode"]
    assert len(notes["image_mode"]) == 2  # and the grey one
    assert notes["mask_mode"] == (f"{masks[4]}: RGB",)


def test_digest_of_everything(root: Path, tmp_path: Path) -> None:
    digest = check_data("WaterBirds", root=root, sha256="").sha256

    assert len(digest) == 64
    assert check_data("WaterBirds", root=root).sha256 == ""
    moved = shutil.copytree(root, tmp_path / "elsewhere")
    assert check_data("WaterBirds", root=moved, sha256=digest, decode=True).ok
    mask = min((moved / "segmentations").glob("*/*.png"))
    mask.write_bytes(mask.read_bytes() + b"0")
    report = check_data("WaterBirds", root=moved, sha256=digest)
    assert errors(report).keys() == {"sha256"}
    assert f"instead of {digest}; it is not the same data" in report.findings[0].message


# --- what can be said ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SOURCES)
def test_a_datamodule_takes_the_declared_arguments_with_their_defaults_and_help(name: str) -> None:
    datamodule = getattr(maskexp.data, name)
    parameters = inspect.signature(datamodule.__init__).parameters
    helps = {text.arg_name: text.description for text in docstring_parser.parse(datamodule.__doc__).params}

    for argument, declared in arguments_of(SOURCES[name]).items():
        assert parameters[argument].default == (inspect.Parameter.empty if declared.required else declared.default)
        assert helps[argument] == declared.help != ""
    assert {"cache_dir", "image_size", "batch_size"} <= parameters.keys()


def test_an_argument_is_read_alike_whatever_the_data() -> None:
    kinds: dict[str, set[type]] = {}
    for source in SOURCES.values():
        for argument, declared in arguments_of(source).items():
            kinds.setdefault(argument, set()).add(_kind(declared))

    assert {argument for argument, several in kinds.items() if len(several) > 1} == set()
    assert (kinds["val_fraction"], kinds["val_seed"], kinds["columns"]) == ({float}, {int}, {dict})


def test_arguments_reach_the_builder(tmp_path: Path) -> None:
    root = write_cub_tree(tmp_path / "CUB_200_2011")

    assert sum(check_data("CUB", root=root, val_fraction=0.4).counts["val"]) == 6
    wrong = check_data("CUB", root=root, val_fraction=2.0)
    assert "val_fraction is 2.0; it must be in [0, 1)" in wrong.findings[0].message


def test_leaks_between_splits(tmp_path: Path) -> None:
    path = write_csv(tmp_path)
    shutil.copy(tmp_path / "images/image 0.png", tmp_path / "images/image 9.png")
    shutil.copy(tmp_path / "masks/image 0.png", tmp_path / "masks/image 9.png")
    path.write_text(path.read_text().replace("images/image 5.png", "images/image 2.png"))
    shutil.copy(tmp_path / "masks/image 2.png", tmp_path / "masks/image 5.png")

    assert errors(check_data("Manifest", csv=path))["leak"] == ("val images/image 2.png is train images/image 2.png",)
    assert errors(check_data("Manifest", csv=path, decode=True))["leak"] == (
        "test images/image 9.png is train images/image 0.png",
        "val images/image 2.png is train images/image 2.png",
    )


def test_manifest_that_is_older_than_its_files(tmp_path: Path) -> None:
    root = write_waterbirds(tmp_path / "w", masks=False)
    WaterBirdsLayout.find(root).prepare(tmp_path / "cache").table.write(root)
    changed = root / "001.Black_footed_Albatross/Black_footed_Albatross_0009.jpg"
    Image.fromarray(np.zeros((7, 9, 3), np.uint8)).save(changed)

    report = check_data("Manifest", root=root)

    assert errors(report) == {"image_size": (f"{changed}: 9x7, manifest 48x40",)}


def test_data_that_cannot_be_read_makes_a_report(root: Path, tmp_path: Path) -> None:
    missing = check_data("WaterBirds", root=tmp_path / "nowhere")
    corrupt_metadata(root, "place,", "background,")
    wrong = check_data("WaterBirds", root=root)

    assert list(errors(missing)) == ["not_found"]
    assert "get it" in missing.findings[0].message
    assert list(errors(wrong)) == ["schema"]
    assert "lacks the column 'place'" in wrong.findings[0].message
    assert not missing.ok
    assert json.dumps(wrong.to_dict())


def test_data_without_files() -> None:
    with pytest.raises(DataError, match="no files of 'SyntheticBirds' to check; choose one of An8Flower, "):
        check_data("SyntheticBirds")


def own_data(root: Path, *lines: str, header: str = "image,label,split,mask") -> Path:
    """Write six grey images with masks of their upper half, and a CSV; ``lines`` take the place of its own."""
    root.mkdir(exist_ok=True)
    half = np.zeros((6, 8), np.uint8)
    half[:3] = 255
    rows = []
    for i in range(6):
        Image.fromarray(np.full((6, 8, 3), 40 * i, np.uint8)).save(root / f"{i}.jpg")
        Image.fromarray(half).save(root / f"m{i}.png")
        rows.append(f"{i}.jpg,{i % 2},{'train' if i < 3 else 'val'},m{i}.png")
    (root / "data.csv").write_text("\n".join([header, *(lines or rows)]) + "\n")
    return root / "data.csv"


@pytest.mark.parametrize(("value", "kind"), [(0, "all_mask_empty"), (255, "all_mask_full")])
def test_masks_of_a_split_that_are_all_alike_are_an_error(value: int, kind: str, tmp_path: Path) -> None:
    table = own_data(tmp_path / "own")
    for i in range(3, 6):
        Image.new("L", (8, 6), value).save(tmp_path / f"own/m{i}.png")

    report = check_data("Manifest", csv=str(table))

    (finding,) = [finding for finding in report.findings if finding.kind == kind]
    assert (finding.severity, not report.ok) == ("error", True)
    assert finding.message.startswith(
        "in split 'val', all 3 masks are empty" if value == 0 else "in split 'val', all 3 masks cover"
    )
    with pytest.raises(DataError, match="all 3 masks of split 'val'"):
        maskexp.data.Manifest(csv=str(table)).setup("fit")


@pytest.mark.parametrize(
    ("corners", "sentence"),
    [
        ("nan,1,4,4", "line 2: the box nan, 1, 4, 4 has corners that are no pixels; leave all four empty"),
        ("1,1,inf,4", "has corners that are no pixels"),
        ("1,1,2e300,4", "has corners that are no pixels"),
        ("1_0,1,20,4", "the box 1_0, 1, 20, 4 is not made of four numbers"),
        ("0.1,0.2,0.5,0.9", "is smaller than a pixel; its corners are pixels, not shares of the image"),
        ("0,0,1,1", "is smaller than a pixel"),
        ("4,1,2,4", "is empty; x0 < x1 and y0 < y1 are needed"),
        ("1,2,3,", "is not made of four numbers"),
    ],
)
def test_boxes_without_meaning_are_an_error_with_their_line(corners: str, sentence: str, tmp_path: Path) -> None:
    table = own_data(tmp_path / "own", f"0.jpg,0,train,{corners}", header="image,label,split,x0,y0,x1,y1")

    report = check_data("Manifest", csv=str(table))

    assert [finding.kind for finding in report.findings if finding.severity == "error"] == ["schema"]
    assert sentence in report.findings[0].message
    with pytest.raises(DataError, match="line 2"):
        maskexp.data.Manifest(csv=str(table)).setup("fit")


def test_boxes_are_judged_by_the_pixels_that_are_read(tmp_path: Path) -> None:
    header = "image,label,split,x0,y0,x1,y1"
    table = own_data(tmp_path / "own", "0.jpg,0,train,0.4,0.4,7.6,5.7", header=header)  # of 8x6: rounded, all of it

    report = check_data("Manifest", csv=str(table))

    assert "all_box_full" in errors(report)
    with pytest.raises(DataError, match="all 1 boxes of split 'train' cover the whole image"):
        maskexp.data.Manifest(csv=str(table)).setup("fit")


def test_a_turned_image_with_a_mask_is_a_warning(tmp_path: Path) -> None:
    table = own_data(tmp_path / "own")
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.new("RGB", (8, 6)).save(tmp_path / "own/0.jpg", exif=exif)

    report = check_data("Manifest", csv=str(table))

    assert report.ok
    assert warnings(report)["orientation"] == (f"{tmp_path}/own/0.jpg: orientation 3",)


def test_every_unreadable_file_is_one_finding_with_its_path(tmp_path: Path) -> None:
    table = own_data(tmp_path / "own")
    own = tmp_path / "own"
    (own / "0.jpg").write_bytes(b"P6\n8 6\n999999999\n")
    (own / "1.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n")
    (own / "m2.png").write_bytes(b"GIF89a")
    Image.fromarray(np.full((6, 8), 3.5, np.float32)).save(own / "3.tif")
    (own / "3.tif").rename(own / "3.jpg")

    corrupt = errors(check_data("Manifest", csv=str(table)))["corrupt"]

    names = ("0.jpg", "1.jpg", "m2.png", "3.jpg")
    assert sorted(names) == sorted(next(name for name in names if f"own/{name}" in item) for item in corrupt)


def test_a_file_name_that_is_not_utf_8_is_one_finding(tmp_path: Path) -> None:
    folder = tmp_path / "own/train/wren"
    folder.mkdir(parents=True)
    try:
        Image.new("RGB", (8, 6)).save(folder / "caf\udce9.jpg", format="JPEG")
    except (OSError, UnicodeError):
        pytest.skip("the file system knows no such names")
    Image.new("RGB", (8, 6)).save(folder / "good.jpg")

    report = check_data("Manifest", root=str(tmp_path / "own"))

    (finding,) = [finding for finding in report.findings if finding.severity == "error"]
    assert r"caf\udce9.jpg' (split 'train') is not UTF-8; rename the file" in finding.message
    assert finding.message.isascii()


def test_boxes_below_a_pixel_and_over_the_whole_image(tmp_path: Path) -> None:
    rows = []
    for number, box in enumerate([(2, 2, 2.5, 9), (0, 0, 20, 10), (1, 1, 9, 9)]):
        Image.new("RGB", (20, 10), (number, 0, 0)).save(tmp_path / f"{number}.png")
        rows.append(Row(str(number), "train", 0, f"{number}.png", box=box))
    prepared = Prepared(ManifestTable(Card("toy", "x", ("a",)), rows), tmp_path)

    report = check(prepared)

    assert [item.partition(":")[0] for item in errors(report)["box_tiny"]] == ["train 0"]
    (full,) = [finding for finding in report.findings if finding.kind == "box_full"]
    assert [item.partition(":")[0] for item in full.items] == ["train 1"]


def test_exif_data_that_cannot_be_read_is_a_note(tmp_path: Path) -> None:
    with_exif(tmp_path / "0.jpg", 0x0112, 2, b"6\0")
    prepared = Prepared(ManifestTable(Card("toy", "x", ("a",)), [Row("0", "train", 0, "0.jpg")]), tmp_path)

    (finding,) = [one for one in check(prepared).findings if one.kind == "exif"]

    assert finding.items == (str(tmp_path / "0.jpg"),)
