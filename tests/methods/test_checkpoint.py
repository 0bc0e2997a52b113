"""A checkpoint is enough by itself, and need not be trusted."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer

from maskexp.data import SyntheticBirds
from maskexp.methods import AIM, COMET, ERM, CheckpointError, Method, load_method
from maskexp.methods.checkpoint import describe

SMALL = {"backbone": "small_convnet", "weights": None}


@pytest.fixture(params=[ERM, AIM])
def trained(
    request: pytest.FixtureRequest, tmp_path: Path, birds: SyntheticBirds, trainer: Callable[..., Trainer]
) -> tuple[Method, Path]:
    method: Method = request.param(**SMALL)
    run = trainer()
    run.fit(method, birds)
    path = tmp_path / "trained.ckpt"
    run.save_checkpoint(path)
    return method.eval(), path


def test_checkpoint_alone_gives_the_same_logits(trained: tuple[Method, Path], birds: SyntheticBirds) -> None:
    method, path = trained
    images = birds.fetch("test", range(4))["image"]
    loaded = load_method(path)
    assert type(loaded) is type(method)
    assert loaded.spec == birds.spec
    assert not loaded.training
    with torch.inference_mode():
        assert torch.equal(loaded(images).logits, method(images).logits)


def test_lightning_can_load_it_as_well(trained: tuple[Method, Path], birds: SyntheticBirds) -> None:
    method, path = trained
    images = birds.fetch("test", range(4))["image"]
    loaded = type(method).load_from_checkpoint(path).eval()
    with torch.inference_mode():
        assert torch.equal(loaded(images).logits, method(images).logits)


def test_a_fresh_process_reads_it_with_plain_torch(trained: tuple[Method, Path]) -> None:
    _, path = trained
    program = f"import torch; print(sorted(torch.load({str(path)!r}, weights_only=True)['maskexp']))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['data_spec', 'method', 'version']"


def test_pretrained_weights_are_read_for_training_only(
    trained: tuple[Method, Path], birds: SyntheticBirds, trainer: Callable[..., Trainer]
) -> None:
    method, path = trained
    elsewhere = {"backbone": "small_convnet", "weights": "no/such/file.safetensors"}
    (result,) = trainer().test(type(method)(**elsewhere), birds, ckpt_path=path, weights_only=True, verbose=False)
    assert result["test/acc"] >= 0
    with pytest.raises(FileNotFoundError, match=r"no weights at 'no/such/file\.safetensors'"):
        trainer().fit(type(method)(**elsewhere), birds)


def test_other_classes_are_refused(trained: tuple[Method, Path], birds: SyntheticBirds) -> None:
    _, path = trained
    other = load_method(path)
    assert other.spec is not None
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["maskexp"]["data_spec"] |= {"class_names": ["cat", "dog"]}
    with pytest.raises(CheckpointError, match=r"knows the 2 classes of synthetic_birds \(cat, dog\), but"):
        other.on_load_checkpoint(checkpoint)


def test_other_classes_are_refused_without_a_checkpoint_as_well(
    trained: tuple[Method, Path], birds: SyntheticBirds
) -> None:
    method = load_method(trained[1])
    with pytest.raises(CheckpointError, match=r"but the data synthetic_birds has 2 \(cat, dog\)"):
        method.build(dataclasses.replace(birds.spec, class_names=("cat", "dog")))


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04broken"])
def test_damaged_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "damaged.ckpt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"damaged\.ckpt is not a PyTorch file that can be read safely"):
        load_method(path)


def test_checkpoints_of_others_are_refused(tmp_path: Path, birds: SyntheticBirds) -> None:
    path = tmp_path / "other.ckpt"
    torch.save({"state_dict": {}}, path)
    with pytest.raises(CheckpointError, match="is not a checkpoint of maskexp"):
        load_method(path)
    whole = {"hyper_parameters": {}, "state_dict": {}, "epoch": 0, "global_step": 1}
    torch.save(describe("Unheard", birds.spec) | whole, path)
    with pytest.raises(CheckpointError, match=r"trained with the method 'Unheard', but only .*AIM.*ERM.* are known"):
        load_method(path)
    with pytest.raises(FileNotFoundError):
        load_method(tmp_path / "missing.ckpt")


def test_a_checkpoint_with_earlier_names_of_arguments_is_read(tmp_path: Path) -> None:
    method = COMET(backbone="small_convnet", selector="small_convnet", selector_stride=4, area_budget=0.3)
    method.build(SyntheticBirds(image_size=32, train_size=8, val_size=4, test_size=4).spec)
    arguments = dict(method.hparams)
    earlier = {"a": "detector_weight", "b": "area_weight", "t": "area_budget"}
    for old, new in earlier.items():
        arguments[old] = arguments.pop(new)
    content = {"state_dict": method.state_dict(), "hyper_parameters": arguments, "epoch": 0, "global_step": 0}
    method.on_save_checkpoint(content)
    torch.save(content, tmp_path / "old.ckpt")
    read = load_method(tmp_path / "old.ckpt")
    assert isinstance(read, COMET)
    assert (read.detector_weight, read.area_weight, read.area_budget) == (5.0, 100.0, 0.3)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "best.ckpt")
    with pytest.raises(CheckpointError, match="is a device or a pipe; only a regular file can be read"):
        load_method(tmp_path / "best.ckpt")
