"""What people's own tables and folders hold, and what must not be read wrongly or left out without a word."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from maskexp.data import DataError
from maskexp.data.datasets.custom import CustomData
from maskexp.data.manifest.check import check_data
from tests.fixtures import write_csv, write_image_folder


def read(path: Path, **arguments: object) -> CustomData:
    return CustomData.find(csv=str(path), **arguments)  # type: ignore[arg-type]


def changed(path: Path, *replacements: tuple[str, str]) -> Path:
    text = path.read_text()
    for before, after in replacements:
        assert before in text
        text = text.replace(before, after)
    path.write_text(text)
    return path


@pytest.mark.parametrize("header", ["Split", "splits", " split", "split ", "spilt", "subset", "SPLIT"])
def test_a_split_column_in_another_spelling_is_not_replaced_by_a_random_split(tmp_path: Path, header: str) -> None:
    path = changed(write_csv(tmp_path), (",split,", f",{header},"))
    with pytest.raises(DataError, match=rf"has a column '{header}', which is not used; did you mean 'split'\?"):
        read(path)
    assert read(path, columns={"split": header}).prepare().table.splits == ("test", "train", "val")


@pytest.mark.parametrize(
    ("header", "role"), [("masks", "mask"), ("Mask", "mask"), ("atribute", "attribute"), ("Attributes", "attribute")]
)
def test_other_optional_columns_in_another_spelling_are_refused(tmp_path: Path, header: str, role: str) -> None:
    path = changed(write_csv(tmp_path), (f",{role},", f",{header},"))
    with pytest.raises(DataError, match=f"'{header}', which is not used; did you mean '{role}'"):
        read(path)


def test_columns_that_mean_nothing_to_us_are_allowed(tmp_path: Path) -> None:
    path = write_csv(tmp_path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join(f"{line},{'photographer' if i == 0 else 'Ann'}" for i, line in enumerate(lines)))
    assert len(read(path).prepare().table.rows) == len(lines) - 1


@pytest.mark.parametrize(("mark", "name"), [(";", "semicolons"), ("\t", "tabs")])
def test_other_separators_are_named(tmp_path: Path, mark: str, name: str) -> None:
    path = write_csv(tmp_path)
    path.write_text(path.read_text().replace(",", mark))
    with pytest.raises(DataError, match=f"separates its columns by {name}; save it with commas"):
        read(path)


def test_a_line_of_another_length_is_named(tmp_path: Path) -> None:
    path = write_csv(tmp_path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:3], lines[3] + ",more", *lines[4:]]))
    with pytest.raises(DataError, match="line 4: the line has another number of cells than the header"):
        read(path)


def test_backslashes_are_refused(tmp_path: Path) -> None:
    path = changed(write_csv(tmp_path), ("images/", "images\\"))
    with pytest.raises(DataError, match=r"line 2: the path 'images\\\\.*' has backslashes; write it with /"):
        read(path)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (("1", "2"), "go from 1 to 2, but the first is 0; subtract 1"),
        (("47126", "200000"), "go up to 200000, but only 2 of them occur; number them from 0, or write names"),
    ],
)
def test_numbers_that_are_no_numbers_of_classes_are_refused(
    tmp_path: Path, labels: tuple[str, str], message: str
) -> None:
    path = changed(write_csv(tmp_path), (",heron,", f",{labels[0]},"), (",wren,", f",{labels[1]},"))
    with pytest.raises(DataError, match=message):
        read(path)


def test_whole_numbers_with_a_fraction_are_numbers(tmp_path: Path) -> None:
    path = changed(write_csv(tmp_path), (",heron,", ",0.0,"), (",wren,", ",1.0,"))
    assert read(path).prepare().table.card.classes == ("class 0", "class 1")


@pytest.mark.parametrize(
    ("written", "meant"), [("dev", "val"), ("valid", "val"), ("Validation", "val"), ("VAL", "val"), (" val", "val")]
)
def test_usual_names_of_splits_are_understood(tmp_path: Path, written: str, meant: str) -> None:
    path = changed(write_csv(tmp_path), (",val,", f",{written},"))
    assert meant in read(path).prepare().table.splits


def test_a_misspelt_split_is_refused_and_a_further_one_is_not(tmp_path: Path) -> None:
    path = changed(write_csv(tmp_path), (",test,", ",tset,"))
    with pytest.raises(DataError, match=r"the split 'tset' is unknown; did you mean 'test'\?"):
        read(path)
    path = changed(write_csv(tmp_path / "b"), (",test,", ",snow,"))
    assert "snow" in read(path).prepare().table.splits


def test_a_doubled_image_is_named_with_both_lines_and_both_labels(tmp_path: Path) -> None:
    path = write_csv(tmp_path)
    lines = path.read_text().splitlines()
    other = lines[1].replace(",wren,", ",heron,") if ",wren," in lines[1] else lines[1].replace(",heron,", ",wren,")
    path.write_text("\n".join([*lines, other]))
    with pytest.raises(
        DataError, match=rf"line {len(lines) + 1}: '.*' stands in line 2 already, as '\w+' and as '\w+'"
    ):
        read(path)


def test_a_class_that_is_never_trained_is_refused(tmp_path: Path) -> None:
    path = write_csv(tmp_path)
    lines = path.read_text().splitlines()
    last = max(i for i, line in enumerate(lines) if ",test," in line)
    lines[last] = lines[last].replace(",wren,", ",owl,").replace(",heron,", ",owl,")
    path.write_text("\n".join(lines))
    with pytest.raises(DataError, match="the class 'owl' is in the split 'test' but not in 'train'"):
        read(path)


def test_masks_beside_a_csv_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="masks is the folder of the masks of an image folder; a CSV names each mask"):
        read(write_csv(tmp_path), masks=str(tmp_path))


@pytest.mark.parametrize(
    "wish", [{"classes": ["a", "b"]}, {"attributes": ["x", "y"]}, {"columns": {"label": "species"}}]
)
def test_names_beside_an_image_folder_are_refused(tmp_path: Path, wish: dict[str, object]) -> None:
    root = write_image_folder(tmp_path)
    with pytest.raises(DataError, match=f"{next(iter(wish))} cannot be given here: .* is an image folder"):
        CustomData.find(root=str(root), **wish)  # type: ignore[arg-type]


def test_a_folder_of_masks_that_belongs_to_no_image_is_refused(tmp_path: Path) -> None:
    root = write_image_folder(tmp_path / "data")
    (tmp_path / "masks").mkdir()
    with pytest.raises(DataError, match=r"no file in \S+masks belongs to an image; the mask of \S+ would be"):
        CustomData.find(root=str(root), masks=str(tmp_path / "masks"))


def test_hidden_files_and_folders_are_no_classes_and_no_images(tmp_path: Path) -> None:
    root = write_image_folder(tmp_path)
    before = CustomData.find(root=str(root)).prepare().table
    (root / "train" / ".ipynb_checkpoints").mkdir()
    folder = next(path for path in sorted((root / "train").iterdir()) if not path.name.startswith("."))
    (folder / f"._{next(folder.iterdir()).name}").write_bytes(b"\0\5\x16\7")

    after = CustomData.find(root=str(root)).prepare().table

    assert after.rows == before.rows
    assert any("1 files that are no images by their names were left out" in note for note in after.card.notes)


@pytest.mark.parametrize("suffix", [".jfif", ".ppm", ".avif", ".JPG"])
def test_every_format_that_is_read_is_listed(tmp_path: Path, suffix: str) -> None:
    root = write_image_folder(tmp_path)
    count = len(CustomData.find(root=str(root)).prepare().table.rows)
    folder = min((root / "train").iterdir())
    (folder / f"new{suffix}").write_bytes(min(folder.iterdir()).read_bytes())
    assert len(CustomData.find(root=str(root)).prepare().table.rows) == count + 1


def test_what_lies_deeper_or_is_no_image_is_counted(tmp_path: Path) -> None:
    root = write_image_folder(tmp_path)
    folder = min((root / "train").iterdir())
    (folder / "more").mkdir()
    (folder / "readme.txt").touch()
    (root / "holiday").mkdir()
    notes = "\n".join(CustomData.find(root=str(root)).prepare().table.card.notes)
    assert "1 sub-folders of classes were left out" in notes
    assert "1 files that are no images by their names were left out" in notes
    assert "1 folders are no train, val or test and were left out: holiday" in notes


def test_check_finds_one_image_in_two_splits_and_under_two_labels(tmp_path: Path) -> None:
    path = write_csv(tmp_path)
    lines = path.read_text().splitlines()
    val, test = (next(line for line in lines if f",{split}," in line) for split in ("val", "test"))
    image = val.split(",")[lines[0].split(",").index("image")]
    other = test.split(",")[lines[0].split(",").index("image")]
    (tmp_path / other).write_bytes((tmp_path / image).read_bytes())

    findings = {finding.kind: finding for finding in check_data("Manifest", csv=str(path), decode=True).findings}

    assert len(findings["shared"].items) == 1
    labels = {line.split(",")[lines[0].split(",").index("label")] for line in (val, test)}
    assert ("two_labels" in findings) == (len(labels) == 2)


def test_check_counts_blank_attributes(tmp_path: Path) -> None:
    path = write_csv(tmp_path)
    lines = path.read_text().splitlines()
    at = lines[0].split(",").index("attribute")
    cells = lines[1].split(",")
    cells[at] = ""
    path.write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]))
    (finding,) = [one for one in check_data("Manifest", csv=str(path)).findings if one.kind == "no_attribute"]
    assert finding.message == "1 images have no attribute although others have one; no group counts them"
    report = check_data("Manifest", csv=str(path))
    assert sum(report.totals.values()) == len(lines) - 1 == sum(map(sum, report.counts.values())) + 1


def test_classes_without_an_image_are_said(tmp_path: Path) -> None:
    path = changed(write_csv(tmp_path), (",heron,", ",10.0,"), (",wren,", ",2.0,"))
    (finding,) = [one for one in check_data("Manifest", csv=str(path)).findings if one.kind == "about"]
    assert finding.message.startswith("9 of 11 classes have no image: class 0, class 1, class 3, class 4")


def test_columns_between_vertical_bars_are_named(tmp_path: Path) -> None:
    path = changed(write_csv(tmp_path), (",", "|"))
    with pytest.raises(DataError, match="separates its columns by vertical bars; save it with commas between them"):
        read(path)


def test_names_of_groups_that_collide_are_refused(tmp_path: Path) -> None:
    path = changed(
        write_csv(tmp_path), (",heron,", ",a,"), (",wren,", ",a/b,"), (",land,", ",b/c,"), (",water,", ",c,")
    )
    with pytest.raises(DataError, match="data has two of the group 'a/b/c'; rename a class or an attribute"):
        read(path)


def test_an_empty_folder_is_no_class(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for name in ("a", "b"):
            (tmp_path / "own" / split / name).mkdir(parents=True)
            Image.new("RGB", (8, 6)).save(tmp_path / "own" / split / name / f"{split}.png")
    (tmp_path / "own/train/empty").mkdir()
    (tmp_path / "own/val/up").symlink_to("..")
    report = check_data("Manifest", root=str(tmp_path / "own"))
    assert report.group_names == ("a", "b")
    (note,) = [one.message for one in report.findings if one.kind == "about"]
    assert note == "2 folders of classes hold no images and were left out: train/empty, val/up"
