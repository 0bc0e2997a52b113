"""What a user may write otherwise, and what is refused before the parser sees it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from maskexp.cli.arguments import in_the_parsers_words, refuse_environment
from maskexp.cli.config import Configuration
from maskexp.cli.errors import CommandError
from maskexp.cli.parser_errors import explain_parser_error
from maskexp.methods import ERM
from maskexp.models.backbones import Backbone, create_timm
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


def test_our_own_checkpoint_of_a_classifier_gives_a_backbone_its_weights(tmp_path: Path) -> None:
    method = ERM(backbone="small_convnet", weights=None)
    method.build(SPEC)
    torch.save({"state_dict": method.state_dict()}, tmp_path / "best.ckpt")
    backbone = Backbone("small_convnet", 2, str(tmp_path / "best.ckpt"), (32, 32))
    trained = method.network.network.stages[0][1].weight
    assert any(torch.equal(trained, parameter) for parameter in backbone.parameters())
