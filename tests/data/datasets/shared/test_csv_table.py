"""People's own tables: what they mean, and what must not be read wrongly or left out without a word."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from maskexp.data import DataError, DatasetNotFoundError, Manifest
from maskexp.data.datasets.custom import CustomData
from maskexp.data.manifest.check import check_data
from tests.fixtures import resize_image, write_csv


def rewrite(path: Path, line: int, **cells: str) -> Path:
    """Change cells of one line of a CSV (2 is the first below the header)."""
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file))
    lines[line - 2] |= cells
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    return path


def own(path: Path, **arguments: object) -> Manifest:
    return Manifest(csv=str(path), image_size=24, num_workers=0, **arguments)


def read(path: Path, **arguments: object) -> CustomData:
    return CustomData.find(csv=str(path), **arguments)  # type: ignore[arg-type]


def changed(path: Path, *replacements: tuple[str, str]) -> Path:
    text = path.read_text()
    for before, after in replacements:
        assert before in text
        text = text.replace(before, after)
    path.write_text(text)
    return path


def test_csv(tmp_path: Path) -> None:
    data = own(write_csv(tmp_path))

    spec = data.spec
    assert (spec.name, spec.variant, spec.foreground) == ("data", "own", "segmentation")
    assert spec.class_names == ("heron", "wren")  # in alphabetical order
    assert spec.attribute_names == ("land", "water")
    assert spec.train_group_counts == (1, 1, 1, 1)
    assert data.notes == []
    assert data.dataset("train").label.tolist() == [1, 0, 1, 0]
    assert data.fetch("test", [0, 1])["foreground"].any()


def test_order_of_classes_and_attributes_can_be_given(tmp_path: Path) -> None:
    data = own(write_csv(tmp_path), classes=["wren", "heron", "owl"], attributes=["water", "land"])

    assert data.spec.class_names == ("wren", "heron", "owl")
    assert data.dataset("train").label.tolist() == [0, 1, 0, 1]
    assert data.dataset("train").attribute.tolist() == [1, 1, 0, 0]


def test_labels_may_be_indices(tmp_path: Path) -> None:
    data = own(rewrite(write_csv(tmp_path, label=0), 3, label="2"))

    assert data.spec.class_names == ("class 0", "class 1", "class 2")
    assert own(tmp_path / "data.csv", classes=["a", "b", "c"]).spec.class_names == ("a", "b", "c")


def test_only_image_and_label_are_required(tmp_path: Path) -> None:
    empty = dict.fromkeys(("attribute", "mask", "x0", "y0", "x1", "y1"))
    data = own(write_csv(tmp_path, **empty))

    assert data.spec.foreground == "none"
    assert data.spec.group_names == ()
    assert data.spec.train_group_counts == ()
    assert data.fetch("train", [0])["group"].tolist() == [-1]


def test_box_instead_of_mask(tmp_path: Path) -> None:
    data = own(write_csv(tmp_path, mask=None))

    assert data.spec.foreground == "box"
    assert data.fetch("train", [0, 1])["has_foreground"].all()


def test_without_split_a_hash_decides(tmp_path: Path) -> None:
    data = own(write_csv(tmp_path, per_split=30, split=None))

    sizes = {split: len(data.table.split(split)) for split in data.table.splits}
    assert sum(sizes.values()) == 90
    assert sizes["train"] > 50
    assert min(sizes.values()) > 4
    assert data.notes == ["the CSV has no split: 70/15/15 % by a hash of the image's path"]


def test_other_names_of_splits_and_columns(tmp_path: Path) -> None:
    path = write_csv(tmp_path)
    path.write_text(path.read_text().replace("label", "species", 1).replace(",val,", ",Validation,"))

    data = own(path, columns={"label": "species"})

    assert data.table.splits == ("test", "train", "val")


def test_paths_are_relative_to_root_if_given(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "data")
    moved = path.rename(tmp_path / "list.csv")

    assert own(moved, root=str(tmp_path / "data")).fetch("test", [0])["foreground"].any()
    with pytest.raises(DataError, match=r"the image \S+/images/image 10\.png, listed in .* does not exist; paths are"):
        own(moved).prepare_data()


def test_missing_csv(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"looked for  \S+nothing\.csv(.|\n)*--data\.csv"):
        own(tmp_path / "nothing.csv").prepare_data()
    with pytest.raises(DataError, match=r"Manifest needs --data\.root \(a folder\) or --data\.csv \(a file\)"):
        Manifest().prepare_data()


def test_wrong_columns(tmp_path: Path) -> None:
    path = write_csv(tmp_path)

    with pytest.raises(DataError, match=r"no column 'specie'; it has image, .*--data\.columns\.label"):
        own(path, columns={"label": "specie"}).prepare_data()
    with pytest.raises(DataError, match=r"the role 'lable', which does not exist \(did you mean 'label'\?\)"):
        own(path, columns={"lable": "label"}).prepare_data()
    path.write_text(path.read_text().replace("label", "labels", 1))
    with pytest.raises(DataError, match=r"no column 'label' \(did you mean 'labels'\?\); it has image, labels"):
        own(path).prepare_data()
    with pytest.raises(DataError, match="only some of the columns x0, y0, x1, y1"):
        own(write_csv(tmp_path / "other", x1=None)).prepare_data()


@pytest.mark.parametrize(
    ("cells", "classes", "message"),
    [
        (
            {"label": "owl"},
            ["wren", "heron"],
            r"line 4: label 'owl' is unknown; there are 2, numbered from 0: wren, heron",
        ),
        ({"label": "2"}, ["wren", "heron"], "line 4: label '2' is out of range"),
        ({"label": "-1"}, ["wren", "heron"], "line 4: label '-1' is out of range"),
        ({"label": "-1"}, None, "line 4: label '-1' is out of range; there are 2, numbered from 0: heron, wren"),
        ({"attribute": "-1"}, None, "line 4: attribute '-1' is out of range; .* leave the cell empty where there is"),
        ({"label": ""}, None, "line 4: label is empty"),
        ({"image": ""}, None, "line 4: image is empty"),
        ({"split": ""}, None, "line 4: split is empty"),
        ({"x0": "left"}, None, "line 4: the box left, 3, 20, 25 is not made of four numbers"),
        ({"x0": "30"}, None, "line 4: the box 30, 3, 20, 25 is empty"),
        ({"mask": "masks/none.png"}, None, r"the mask \S+/masks/none\.png, listed in \S+data\.csv, does not exist"),
    ],
)
def test_bad_cells(cells: dict[str, str], classes: list[str] | None, message: str, tmp_path: Path) -> None:
    path = rewrite(write_csv(tmp_path), 4, **cells)

    with pytest.raises(DataError, match=message):
        own(path, classes=classes).prepare_data()


def test_negative_among_indices(tmp_path: Path) -> None:
    path = rewrite(write_csv(tmp_path, label=1), 3, label="-1")

    with pytest.raises(DataError, match="line 3: label '-1' is out of range; there are 2, numbered from 0: class 0"):
        own(path).prepare_data()


def test_place_of_the_cache(tmp_path: Path) -> None:
    own(write_csv(tmp_path), cache="memmap", cache_dir=str(tmp_path / "kept")).setup("validate")

    assert any((tmp_path / "kept").rglob("images.u8"))


def test_csv_of_another_encoding(tmp_path: Path) -> None:
    path = write_csv(tmp_path)
    path.write_bytes(path.read_bytes() + "\nmösch.jpg".encode("latin-1"))

    with pytest.raises(DataError, match=r"data\.csv is not written in UTF-8; save it as a CSV or text file in UTF-8"):
        own(path).prepare_data()


def test_mask_of_another_size_is_noticed_when_it_is_read(tmp_path: Path) -> None:
    path = write_csv(tmp_path)
    resize_image(tmp_path / "masks/image 0.png", (5, 6))

    with pytest.raises(DataError, match=r"mask \S+image 0\.png has 5x6 pixels but its image"):
        own(path).fetch("train", [0])


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
