"""What we depend on of the insides of Lightning and jsonargparse is there and does what it is for."""

from __future__ import annotations

import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningCLI

from maskexp.cli.lightning_adapter import AdaptedCLI, restoring_only
from tests.cli.conftest import SMALL, Command


@pytest.mark.parametrize(
    "hook", ["_parse_ckpt_path", "_run_subcommand", "_parser", "_dump_config", "_get", "_instantiate_trainer"]
)
def test_lightning_still_has_the_hook(hook: str) -> None:
    assert callable(getattr(LightningCLI, hook))
    assert callable(getattr(AdaptedCLI, hook))


def test_a_fresh_training_looks_for_no_checkpoint_of_another_run() -> None:
    trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    with restoring_only(trainer, None):
        connector = trainer._checkpoint_connector
        assert connector._user_managed
        assert connector._ckpt_path is None


def test_what_a_datamodule_answers_is_no_argument(maskexp: Command) -> None:
    outcome = maskexp("fit", "--model=ERM", *SMALL, "--model.spec=x", "--run_dir=r")
    assert outcome.code == 2
    assert "unknown key model.spec" in outcome.complaint
