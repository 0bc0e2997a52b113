"""What a user may write otherwise, and what is refused before the parser sees it."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
import torch

import maskexp.methods
from maskexp.cli.arguments import in_the_parsers_words, refuse_environment, require_plain_values, target_file
from maskexp.cli.config import Configuration
from maskexp.cli.errors import CommandError
from maskexp.cli.parser_errors import explain_parser_error
from maskexp.cli.run_settings import FIRST_WEIGHTS
from maskexp.methods import AIM, COMET, ERM, BCos, BottomUp, DynConv, Method
from maskexp.methods.checkpoint import describe
from maskexp.models import Classifier
from maskexp.models.backbones import Backbone, create_timm
from maskexp.reports.records import TRAINED_FIRST
from maskexp.types import DataSpec

SPEC = DataSpec("toy", "x", ("a", "b"), (), (), (32, 32), (), "none")


def test_none_is_null() -> None:
    assert in_the_parsers_words(["--a", "None", "--b=None", "--c=none"]) == ["--a", "null", "--b=null", "--c=none"]


@pytest.mark.parametrize(
    ("argument", "complaint"),
    [("${args_no_hyphens}", "was not filled in; write"), ("model.lr=0.1", "has no hyphens; write --model.lr=0.1")],
)
def test_what_a_sweep_wrote_wrongly_is_refused(argument: str, complaint: str) -> None:
    with pytest.raises(CommandError, match=complaint):
        in_the_parsers_words([argument])


def test_variables_that_would_do_nothing_are_refused() -> None:
    refuse_environment("fit", {"PL_TEST__X": "1", "HOME": "/"})
    with pytest.raises(CommandError, match=r"PL_FIT__MODEL__LR does nothing here; give --model\.lr"):
        refuse_environment("fit", {"PL_FIT__MODEL__LR": "1"})


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ("unrecognized arguments: --optimizer.lr", "unknown key optimizer.lr; did you mean --model.lr?"),
        ("unrecognized arguments: --lr", "unknown key lr; did you mean --model.lr?"),
        (
            "Problem with given class_path 'lightning.pytorch.callbacks.EarlyStopping': Key 'pateince' is not expected",
            "unknown key EarlyStopping.pateince; did you mean 'patience'?",
        ),
        (
            "given class_path 'lightning.pytorch.callbacks.EarlyStopping': arguments are required: monitor",
            "EarlyStopping needs monitor; put it under its init_args",
        ),
        (
            "Parser key \"model\": Given value: NestedArg(key='lr', val='1')",
            "an argument of model is given, but no model is chosen: give --model NAME as well",
        ),
    ],
)
def test_sentences(message: str, sentence: str) -> None:
    classes = {"model": ["ERM", "AIM"], "data": ["CUB"], "evaluations": []}
    assert explain_parser_error(message, ["model", "trainer.max_epochs"], classes, Configuration()) == sentence


def test_a_name_of_the_hub_is_told_from_one_of_timm() -> None:
    with pytest.raises(ValueError, match=r"drop timm/: resnet18\.a1_in1k"):
        create_timm("timm/resnet18.a1_in1k", None, (32, 32))


def write_checkpoint(method: Method, path: Path) -> None:
    """What a checkpoint of ours holds of a network."""
    content = describe(type(method).__name__, SPEC)
    torch.save(content | {"state_dict": method.state_dict(), "hyper_parameters": dict(method.hparams)}, path)


OWN = {
    "ERM": ERM(backbone="small_convnet", weights=None),
    "AIM": AIM(backbone="small_convnet", weights=None),
    "BottomUp": BottomUp(backbone="small_convnet", weights=None),
    "COMET": COMET(backbone="small_convnet", detector="trainable"),
    "AIM on a transformer": AIM(backbone="swin_tiny_patch4_window7_224", weights=None, feature_width=8),
}


@pytest.mark.parametrize("name", OWN)
def test_our_own_checkpoints_give_backbone_and_classifier_their_weights(name: str, tmp_path: Path) -> None:
    method = OWN[name]
    method.build(SPEC)
    file = str(tmp_path / "best.ckpt")
    write_checkpoint(method, Path(file))
    stored = [tensor for tensor in method.state_dict().values() if tensor.ndim > 1]
    backbone = Backbone(method.backbone, 2, file, (32, 32))
    parts = [*backbone.parameters(), *Classifier(method.backbone, 2, file, (32, 32)).backbone_parameters()]
    for parameter in parts:
        if parameter.ndim > 1:
            assert any(torch.equal(parameter, each) for each in stored if each.shape == parameter.shape)


@pytest.mark.parametrize(
    ("method", "backbone", "complaint"),
    [
        (
            OWN["AIM"],
            "resnet18",
            "are a checkpoint of AIM on small_convnet, not on resnet18; give --model.backbone small",
        ),
        (
            DynConv(backbone="test_resnet", weights=None),
            "test_resnet",
            "are a checkpoint of DynConv, whose layers are not those of timm's network; give one of ERM, AIM, BottomUp",
        ),
        (
            BCos(backbone="small_convnet", weights=None),
            "small_convnet",
            "are a checkpoint of BCos, whose layers are not",
        ),
    ],
)
def test_own_checkpoints_that_do_not_fit_are_refused(
    method: Method, backbone: str, complaint: str, tmp_path: Path
) -> None:
    method.build(SPEC)
    write_checkpoint(method, tmp_path / "best.ckpt")
    with pytest.raises(ValueError, match=complaint):
        Backbone(backbone, 2, str(tmp_path / "best.ckpt"), (32, 32))


BOMB = "{" + ", ".join(f"k{i}: &k{i} [{', '.join([f'*k{i - 1}'] * 10 if i else ['1'] * 10)}]" for i in range(8)) + "}"


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (BOMB, "--model holds more than 100000 values, its aliases written out"),
        ("{class_path: ERM, lr: &x [1, *x]}", "--model, line 1: 'x' stands for itself"),
        ("[" * 60, "--model, line 1: nested deeper than 40 levels"),
        ("{lr: 1, lr: 2}", "--model: the key 'lr' is given twice"),
        ("? ", "--model: the key None is no text"),
        ("!!binary aGk=", "--model: it holds a bytes, which no setting takes"),
    ],
)
@pytest.mark.parametrize("apart", [False, True])
def test_yaml_in_a_flag_is_bounded_like_a_file(value: str, complaint: str, apart: bool) -> None:
    with pytest.raises(CommandError, match=re.escape(complaint)):
        require_plain_values(["--model", value] if apart else [f"--model={value}"])


@pytest.mark.parametrize("value", ["ERM", "[broken", "{a", "*star", "a/b*.csv", "-1", "{a: 1}", "[1, 2]", "&", "C: x"])
def test_other_values_are_left_to_the_parser(value: str) -> None:
    require_plain_values(["--x", value, f"--x={value}"])


def test_a_file_that_cannot_be_written_is_refused_before_any_work(tmp_path: Path) -> None:
    assert target_file(tmp_path / "new" / "page.html") == tmp_path / "new" / "page.html"
    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match="is a folder"):
        target_file(tmp_path)
    with pytest.raises(CommandError, match="is no folder that you may write"):
        target_file(tmp_path / "file" / "page.html")


def test_what_a_method_trains_first_is_known_to_resuming_and_to_reports() -> None:
    methods = [each for each in vars(maskexp.methods).values() if isinstance(each, type) and issubclass(each, Method)]
    arguments = {name for method in methods for name in inspect.signature(method).parameters}
    given = {name for name in arguments if name.endswith("_checkpoint")}
    assert {f"model.{name}" for name in given} == {key for key in FIRST_WEIGHTS if key.endswith("_checkpoint")}
    assert {f"{name.removesuffix('_checkpoint')}s" for name in given} == set(TRAINED_FIRST)
