from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from maskexp.cli.explain_checkpoint import evaluation_pipeline, prepare_image
from maskexp.cli.main import main
from maskexp.data import DataError
from maskexp.data.transforms import EvalTransform
from maskexp.data.transforms.pipeline import Pipeline
from maskexp.data.transforms.stored import described
from maskexp.results import RunDirectory
from tests.cli.conftest import CPU, SMALL, Command

SIZES = [(60, 40), (33, 70), (50, 50), (32, 32)]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """JPEG files of several sizes, and their table."""
    folder = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    rows = []
    for i, size in enumerate(SIZES * 3):
        noise = generator.integers(0, 256, (5, 5, 3), dtype=np.uint8)
        Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).save(folder / f"photo{i}.jpg", quality=90)
        rows.append((f"photo{i}.jpg", i % 2, ("train", "val", "test")[i // len(SIZES)]))
    with (folder / "photos.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "label", "split"), *rows])
    return folder


@pytest.mark.parametrize("resize", ["square", "center_crop"])
@pytest.mark.parametrize("method", ["AIM", "ERM"])
def test_the_same_logits_and_maps_as_predict(
    photos: Path, tmp_path: Path, maskexp: Command, method: str, resize: str
) -> None:
    run = tmp_path / "run"
    shared = [arg for arg in SMALL if not arg.startswith(("--data=", "--data.train", "--data.val", "--data.test"))]
    data = ["--data=Manifest", f"--data.csv={photos / 'photos.csv'}", "--data.num_workers=0"]
    geometry = [f"--data.eval_transform.resize={resize}", "--data.eval_transform.crop_fraction=0.8"]
    flags = ["--trainer.max_epochs=1", "--data.batch_size=2", "--test_after_fit=false", "--gallery.every_n_epochs=0"]
    assert main(["fit", f"--model={method}", *shared, *data, *geometry, *flags, f"--run_dir={run}"]) == 0
    best = run / "checkpoints" / "best.ckpt"
    assert maskexp("predict", "--ckpt_path", best, *CPU, "--save_attributions=true").code == 0
    logits = np.load(run / "logits.npy")
    with (run / "predictions.csv").open() as file:
        ids = [row["id"] for row in csv.DictReader(file)]

    files = [photos / f"photo{i}.jpg" for i in range(2 * len(SIZES), 3 * len(SIZES))]
    outcome = maskexp("explain", best, *files, "--json", "--out", tmp_path / "out")
    assert outcome.code == 0
    answers = [json.loads(line) for line in outcome.out.splitlines()]
    stems = [Path(identity).stem for identity in ids]
    for answer in answers:
        row = stems.index(Path(answer["image"]).stem)
        assert list(answer["logits"].values()) == pytest.approx(logits[row], abs=1e-5)
        if method == "AIM":  # Grad-CAM explains the labelled class in predict and the predicted one here
            mask = np.asarray(Image.open(answer["pictures"][0])) / 255
            stored = np.load(run / "attributions" / f"{ids[row].replace('/', '__')}.npy")
            assert mask == pytest.approx(stored, abs=1 / 255)


def test_images_and_words(trained: RunDirectory, photos: Path, tmp_path: Path, maskexp: Command) -> None:
    best = trained.checkpoints / "best.ckpt"
    outcome = maskexp("explain", best, photos / "photo0.jpg", photos / "photo1.jpg", "--out", tmp_path)
    assert outcome.code == 0
    first = outcome.out.splitlines()[0]
    assert first.startswith(f"{photos / 'photo0.jpg'}: ")
    assert "landbird" in first
    assert "waterbird" in first
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "photo0_mask.png",
        "photo0_overlay.png",
        "photo1_mask.png",
        "photo1_overlay.png",
    ]
    assert Image.open(tmp_path / "photo0_overlay.png").size == (32, 32)


def test_images_of_one_name_do_not_overwrite_each_other(
    trained: RunDirectory, photos: Path, tmp_path: Path, maskexp: Command
) -> None:
    best, photo, out = trained.checkpoints / "best.ckpt", photos / "photo0.jpg", tmp_path / "out"
    numbered = tmp_path / "photo0_1.jpg"
    numbered.write_bytes(photo.read_bytes())
    assert maskexp("explain", best, photo, photo, numbered, "--out", out).code == 0
    assert len(list(out.iterdir())) == 6


def test_geometry_comes_from_the_checkpoint(trained: RunDirectory) -> None:
    content = torch.load(trained.checkpoints / "best.ckpt", weights_only=True)
    stored = content["datamodule_hyper_parameters"]
    assert described(evaluation_pipeline(content).evaluation) == stored["eval_transform"]

    chosen = described(EvalTransform("center_crop", 0.875))
    for today in ({"eval_transform": chosen}, {"resize": "center_crop", "crop_fraction": 0.875}):
        content["datamodule_hyper_parameters"] = today
        assert described(evaluation_pipeline(content).evaluation) == chosen
        assert evaluation_pipeline(content).image_size == 32


def test_geometry_of_a_checkpoint_imports_nothing_from_elsewhere(trained: RunDirectory) -> None:
    content = torch.load(trained.checkpoints / "best.ckpt", weights_only=True)
    evil = {"class_path": "torchvision.transforms.v2.Lambda", "init_args": {"lambd": "os.system"}}
    for stored in (evil, {"class_path": "evil.Transform"}):
        content["datamodule_hyper_parameters"]["eval_transform"] = stored
        with pytest.raises(DataError, match="is none of torchvision's or ours"):
            evaluation_pipeline(content)


def test_a_damaged_geometry_is_said_with_the_file(
    trained: RunDirectory, photos: Path, tmp_path: Path, maskexp: Command
) -> None:
    content = torch.load(trained.checkpoints / "best.ckpt", weights_only=True)
    content["datamodule_hyper_parameters"]["eval_transform"]["init_args"]["crop_fraction"] = [1]
    torch.save(content, tmp_path / "damaged.ckpt")
    outcome = maskexp("explain", tmp_path / "damaged.ckpt", photos / "photo0.jpg", "--out", tmp_path)
    assert outcome.code == 2
    assert "damaged.ckpt: the checkpoint's eval_transform cannot be rebuilt" in outcome.complaint


def test_broken_image(trained: RunDirectory, photos: Path, tmp_path: Path, maskexp: Command) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes((photos / "photo0.jpg").read_bytes()[:300])
    outcome = maskexp("explain", trained.checkpoints / "best.ckpt", broken, "--out", tmp_path)
    assert outcome.code == 1
    assert "broken.jpg" in outcome.complaint


def test_prepared_image_is_what_the_data_set_yields(photos: Path) -> None:
    image = prepare_image(photos / "photo0.jpg", Pipeline(32, evaluation=EvalTransform("center_crop")))
    assert image.shape == (3, 32, 32)
    assert image.dtype == torch.uint8
