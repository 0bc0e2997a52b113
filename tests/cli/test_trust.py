"""A checkpoint, and the run it lies in, cannot make any verb import what the user did not ask for."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from maskexp.cli.trust import known_class
from maskexp.results import RunDirectory
from tests.cli.conftest import CPU, Command

EVIL = "from pathlib import Path\nPath(__file__).with_name('ran').touch()\n"
EVIL += "from maskexp.data import SyntheticBirds as Data\nfrom maskexp.methods import AIM as Model\ndef f(*a): pass\n"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory, importable from, with a module that tells when it is imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "evil.py").write_text(EVIL)
    return tmp_path


def changed(trained: RunDirectory, path: Path, **entries: dict[str, Any]) -> Path:
    """Write the trained checkpoint with other hyper-parameters."""
    content = torch.load(trained.checkpoints / "best.ckpt", weights_only=True)
    for entry, values in entries.items():
        content[entry] |= values
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


@pytest.mark.parametrize("verb", ["fit", "validate", "test", "predict"])
@pytest.mark.parametrize(
    ("entry", "values", "section"),
    [
        ("datamodule_hyper_parameters", {"_class_path": "evil.Data"}, "data"),
        ("datamodule_hyper_parameters", {"_class_path": "evil.SyntheticBirds"}, "data"),
        ("hyper_parameters", {"_class_path": "evil.Model"}, "model"),
        ("hyper_parameters", {"_class_path": "evil.AIM"}, "model"),
        ("hyper_parameters", {"gumbel": {"class_path": "evil.Data", "init_args": {}}}, "model.gumbel"),
        ("datamodule_hyper_parameters", {"foreground": "evil.Data"}, "data.foreground"),
    ],
)
def test_a_checkpoint_imports_nothing(
    verb: str,
    entry: str,
    values: dict[str, Any],
    section: str,
    elsewhere: Path,
    trained: RunDirectory,
    maskexp: Command,
) -> None:
    path = changed(trained, elsewhere / "moved.ckpt", **{entry: values})
    outcome = maskexp(verb, "--ckpt_path", path, *CPU)
    assert outcome.code == 2
    name = next(text for text in (values.get("_class_path"), "evil.Data") if text)
    assert f"wants '{name}' to be imported for {section}; a checkpoint is not trusted with that" in outcome.complaint
    assert not (elsewhere / "ran").exists()


@pytest.mark.parametrize(
    ("section", "value", "key"),
    [
        ("data", "evil.Data", "data"),
        ("data", {"class_path": "evil.Data"}, "data"),
        ("trainer", {"callbacks": [{"class_path": "evil.Data"}]}, "trainer.callbacks"),
        ("trainer", {"callbacks": "evil.Data"}, "trainer.callbacks"),
        (
            "trainer",
            {
                "callbacks": {
                    "class_path": "lightning.pytorch.callbacks.LambdaCallback",
                    "init_args": {"setup": "evil.f"},
                }
            },
            "trainer.callbacks.setup",
        ),
        ("trainer", {"logger": {"class_path": "evil.Data"}}, "trainer.logger"),
    ],
)
def test_the_configuration_beside_a_checkpoint_imports_nothing(
    section: str, value: Any, key: str, elsewhere: Path, trained: RunDirectory, maskexp: Command
) -> None:
    run = RunDirectory(shutil.copytree(trained.path, elsewhere / "run"))
    config = run.read_config()
    config[section] = config[section] | value if section == "trainer" else value
    run.config_file.write_text(yaml.safe_dump(config))
    outcome = maskexp("fit", "--ckpt_path", run.checkpoints / "last.ckpt", *CPU)
    assert outcome.code == 2
    assert f"to be imported for {key};" in outcome.complaint
    assert not (elsewhere / "ran").exists()
    assert run.done, "what is refused changes nothing"


def test_what_the_user_gives_instead_is_taken(elsewhere: Path, trained: RunDirectory, maskexp: Command) -> None:
    path = changed(trained, elsewhere / "moved.ckpt", datamodule_hyper_parameters={"_class_path": "evil.Data"})
    data = ["--data=SyntheticBirds", "--data.image_size=32", "--data.train_size=24", "--data.val_size=8"]
    assert maskexp("test", "--ckpt_path", path, *CPU, *data, "--data.test_size=12", "--run_dir=out").code == 0
    assert not (elsewhere / "ran").exists()


def test_explain_imports_nothing(elsewhere: Path, trained: RunDirectory, maskexp: Command) -> None:
    evil = {"_class_path": "evil.Model"}
    path = changed(trained, elsewhere / "moved.ckpt", hyper_parameters=evil, datamodule_hyper_parameters=evil)
    shutil.copy(trained.gallery / "test.png", elsewhere / "x.png")
    assert maskexp("explain", path, "x.png").code == 0
    assert not (elsewhere / "ran").exists()


def test_classes_that_moved_within_the_package_are_still_known() -> None:
    assert known_class("data", "maskexp.data.some.older.place.SyntheticBirds") == "maskexp.data.SyntheticBirds"
    assert known_class("model", "ERM") == "maskexp.methods.ERM"
    for foreign in ("evil.ERM", "maskexp.methods.System", "os.system", "", None, 3):
        assert known_class("model", foreign) is None


def test_a_file_named_like_a_folder_beside_it_is_no_import(
    elsewhere: Path, trained: RunDirectory, maskexp: Command
) -> None:
    (elsewhere / "birds").mkdir()
    path = changed(trained, elsewhere / "moved.ckpt", hyper_parameters={"weights": "birds.pth"})
    assert maskexp("validate", "--ckpt_path", path, *CPU, "--run_dir=out").code == 0


# --- damaged checkpoints -------------------------------------------------------------------------------------------


def spoil(content: dict[str, Any], how: str) -> None:
    key, _, value = how.partition("=")
    if not value:
        content.pop(key)
    elif value == "nan":
        tensors = [tensor for tensor in content["state_dict"].values() if tensor.is_floating_point()]
        tensors[0][(0,) * tensors[0].ndim] = float(value)
    else:
        content[key] = {"list": [1], "text": "x", "empty": {}, "numbers": {1: 2}}[value]


@pytest.mark.parametrize("verb", ["fit", "validate", "test", "predict", "explain"])
@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("state_dict", "it has no 'state_dict'"),
        ("state_dict=text", "it has no 'state_dict'"),
        ("state_dict=numbers", "it has no 'state_dict'"),
        ("state_dict=empty", "do not fit the network that it describes"),
        ("hyper_parameters", "it has no 'hyper_parameters'"),
        ("hyper_parameters=list", "it has no 'hyper_parameters'"),
        ("epoch", "it has no 'epoch'"),
        ("callbacks=text", "it has no 'callbacks'"),
        ("maskexp=empty", "it has no 'maskexp'|data_spec|DataSpec"),
        ("weights=nan", "holds weights that are no finite numbers, first in '"),
    ],
)
def test_a_damaged_checkpoint_is_one_sentence_with_its_name(
    verb: str, how: str, why: str, elsewhere: Path, trained: RunDirectory, maskexp: Command
) -> None:
    content = torch.load(trained.checkpoints / "best.ckpt", weights_only=True)
    spoil(content, how)
    torch.save(content, "broken.ckpt")
    command = ["explain", "broken.ckpt", "x.png"] if verb == "explain" else [verb, "--ckpt_path=broken.ckpt", *CPU]
    outcome = maskexp(*command)
    assert outcome.code in (1, 2)
    assert any(part in outcome.complaint for part in why.split("|")), outcome.complaint
    assert "--debug" not in outcome.complaint
    assert "\n" not in outcome.complaint
    assert not (elsewhere / "out").exists()
