from __future__ import annotations

import time
from pathlib import Path

import pytest

from maskexp.cli.config import Configuration, differences, flatten, read_configuration
from maskexp.cli.errors import CommandError


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".yaml").write_text(text)


def test_layers_lie_below_the_file_that_names_them(tmp_path: Path) -> None:
    write(
        tmp_path,
        data__birds="data: {class_path: WaterBirds, init_args: {image_size: 224, batch_size: 32}}",
        method__aim="model: {class_path: AIM, init_args: {tau: 0.25, stages: 2}}",
        paper__row="layers: [../data/birds.yaml, ../method/aim.yaml]\nmodel: {init_args: {tau: 0.35}}\nseed: 3",
    )
    values = read_configuration([tmp_path / "paper/row.yaml"]).values
    assert values == {
        "data": {"class_path": "WaterBirds", "init_args": {"image_size": 224, "batch_size": 32}},
        "model": {"class_path": "AIM", "init_args": {"tau": 0.35, "stages": 2}},
        "seed": 3,
    }


def test_later_files_win_and_lists_are_replaced(tmp_path: Path) -> None:
    write(tmp_path, a="x: {y: [1, 2], z: 1}", b="x: {y: [3]}")
    assert read_configuration([tmp_path / "a.yaml", tmp_path / "b.yaml"]).values == {"x": {"y": [3], "z": 1}}


def test_a_layer_may_stand_on_layers_and_be_shared(tmp_path: Path) -> None:
    write(tmp_path, base="x: 1\ny: 1", middle="layers: [base.yaml]\ny: 2", top="layers: [middle.yaml, base.yaml]\nz: 3")
    assert read_configuration([tmp_path / "top.yaml"]).values == {"x": 1, "y": 1, "z": 3}


def test_two_classes_for_one_section_are_refused(tmp_path: Path) -> None:
    write(tmp_path, a="model: {class_path: AIM, init_args: {tau: 1}}", b="model: {class_path: maskexp.methods.ERM}")
    with pytest.raises(CommandError, match=r"model is AIM in .*a\.yaml but ERM in .*b\.yaml"):
        read_configuration([tmp_path / "a.yaml", tmp_path / "b.yaml"])


def test_one_class_under_two_spellings_is_one_class(tmp_path: Path) -> None:
    write(tmp_path, a="model: AIM", b="model: {class_path: maskexp.methods.AIM, init_args: {tau: 1}}")
    merged = read_configuration([tmp_path / "a.yaml", tmp_path / "b.yaml"]).values
    assert merged == {"model": {"class_path": "maskexp.methods.AIM", "init_args": {"tau": 1}}}


def test_origins_name_the_file_of_each_value(tmp_path: Path) -> None:
    write(tmp_path, a="model: {init_args: {tau: 1, stages: 2}}", b="model: {init_args: {tau: 2}}")
    configuration = read_configuration([tmp_path / "a.yaml", tmp_path / "b.yaml"])
    assert configuration.origin("model.init_args.tau") == str(tmp_path / "b.yaml")
    assert configuration.origin("model.init_args.stages") == str(tmp_path / "a.yaml")
    assert configuration.origin("trainer") is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("- 1", "has to hold keys and values"),
        ("a: [", "is no YAML"),
        ("a: 1\na: 2", "the key 'a' is given twice"),
        ("layers: x.yaml", "has to be a list of paths"),
        ("layers: [none.yaml]", "there is no configuration file"),
        ("layers: [bad.yaml]", "stands on itself"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(CommandError, match=complaint):
        read_configuration([tmp_path / "bad.yaml"])


def test_missing_file() -> None:
    with pytest.raises(CommandError, match=r"there is no configuration file 'none\.yaml'"):
        read_configuration(["none.yaml"])


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert read_configuration([tmp_path / "empty.yaml"]).values == {}


@pytest.mark.parametrize("number", ["1e-4", "2.5e3", "-3E2", "1.0e-05"])
def test_scientific_notation_is_a_number(tmp_path: Path, number: str) -> None:
    (tmp_path / "n.yaml").write_text(f"lr: {number}")
    assert read_configuration([tmp_path / "n.yaml"]).values == {"lr": float(number)}


def test_merging_copies(tmp_path: Path) -> None:
    values = {"a": {"b": 1}}
    configuration = Configuration()
    configuration.merge(values, "one")
    configuration.merge({"a": {"b": 2}}, "two")
    assert values == {"a": {"b": 1}}


def test_laid_on_keeps_the_upper_value_and_its_file() -> None:
    upper = Configuration()
    upper.merge({"model": {"init_args": {"tau": 0.9}}}, "row.yaml")
    stacked = upper.laid_on({"model": {"class_path": "AIM", "init_args": {"tau": 0.25, "stages": 2}}}, "x.ckpt")
    assert stacked.values == {"model": {"class_path": "AIM", "init_args": {"tau": 0.9, "stages": 2}}}
    assert stacked.origin("model.init_args.tau") == "row.yaml"
    assert stacked.origin("model.init_args.stages") == "x.ckpt"


def test_differences_are_named_as_a_user_types_them() -> None:
    old = {"model": {"class_path": "AIM", "init_args": {"tau": 0.25, "pair": (1, 2)}}, "gone": 1}
    new = {"model": {"class_path": "maskexp.methods.AIM", "init_args": {"tau": 0.9, "pair": [1, 2], "added": 0}}}
    assert differences(new, old) == {"model.tau": (0.9, 0.25)}


def test_different_paths_are_different() -> None:
    assert differences({"root": "a/b.c"}, {"root": "d/b.c"}) == {"root": ("a/b.c", "d/b.c")}


def test_flatten_keeps_empty_mappings() -> None:
    assert flatten({"a": {}, "b": {"c": None}}) == {"a": {}, "b.c": None}


def test_layers_that_fan_out_are_bounded(tmp_path: Path) -> None:
    (tmp_path / "0.yaml").write_text("a: 1")
    for k in range(1, 10):
        (tmp_path / f"{k}.yaml").write_text(f"layers: [{', '.join([f'{k - 1}.yaml'] * 9)}]")
    with pytest.raises(CommandError, match=r"9\.yaml stands on more than 100 files; merge some of its layers"):
        read_configuration([tmp_path / "9.yaml"])


def test_a_layer_that_is_a_device_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("layers: [/dev/zero]")
    with pytest.raises(CommandError, match="/dev/zero is a device or a pipe; only a regular file"):
        read_configuration([tmp_path / "a.yaml"])


def test_many_keys_are_merged_soon(tmp_path: Path) -> None:
    text = "\n".join(f"k{k}: {{a: 1}}" for k in range(20_000))
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(text)
    start = time.monotonic()
    read_configuration([tmp_path / "a.yaml", tmp_path / "b.yaml"])
    assert time.monotonic() - start < 60


def test_short_forms_mean_what_the_command_line_means(tmp_path: Path) -> None:
    write(
        tmp_path,
        base="model: {class_path: AIM, init_args: {tau: 0.25, stages: 2}}\ndata: WaterBirds",
        row="layers: [base.yaml]\nmodel.tau: 0.35\ndata.train_transform.flip: 0\ntrainer.max_epochs: 3",
        flat="layers: [base.yaml]\nmodel: {tau: 0.35}\ndata: {train_transform.flip: 0}\ntrainer: {max_epochs: 3}",
    )
    expected = {
        "model": {"class_path": "AIM", "init_args": {"tau": 0.35, "stages": 2}},
        "data": {"class_path": "WaterBirds", "init_args": {"train_transform": {"init_args": {"flip": 0}}}},
        "trainer": {"max_epochs": 3},
    }
    row = read_configuration([tmp_path / "row.yaml"])
    assert row.values == expected
    assert row.origin("model.init_args.tau") == str(tmp_path / "row.yaml")
    assert read_configuration([tmp_path / "flat.yaml"]).values == expected


def test_a_class_and_its_arguments_in_one_file(tmp_path: Path) -> None:
    write(tmp_path, a="model: AIM\nmodel.tau: 0.5\nmodel.weights: None")
    assert read_configuration([tmp_path / "a.yaml"]).values == {
        "model": {"class_path": "AIM", "init_args": {"tau": 0.5, "weights": None}}
    }


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("model: {class_path: ERM, lr: 0.1}", r"bad\.yaml: put lr under init_args of model"),
        ("data: {init_args: {seed: 1}, image_size: 3}", r"bad\.yaml: put image_size under init_args of data"),
        ("model: {init_args: {tau: 1}}\nmodel.tau: 2", "the key 'model.tau' is given twice"),
        ("trainer: false\ntrainer.logger: x", "lies below trainer, which has a value of its own"),
    ],
)
def test_short_forms_that_contradict_are_refused(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(CommandError, match=complaint):
        read_configuration([tmp_path / "bad.yaml"])
