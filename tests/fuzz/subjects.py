"""What is tried: each subject writes one mutated input into a folder and lets the program read it."""

from __future__ import annotations

import io
import json
import random
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import timm
import torch
import yaml
from PIL import Image

from maskexp.cli.checkpoint import checkpoint_layer, locate
from maskexp.cli.config import read_configuration
from maskexp.cli.main import main
from maskexp.cli.trust import trusted
from maskexp.data.downloads.archives import extract
from maskexp.data.loading.image_files import stored_size
from maskexp.data.loading.pixels import read_mask, read_rgb
from maskexp.data.manifest.check import check_data
from maskexp.methods import load_method
from maskexp.models.backbones import create_timm
from maskexp.results import RunDirectory
from tests.fixtures import write_csv, write_cub_tree, write_waterbirds
from tests.fuzz.mutations import NASTY_TEXTS, mutated_bytes, mutated_text, mutated_value

__all__ = ["BACKBONE", "FEW", "SUBJECTS", "Seeds", "Subject", "command"]

BACKBONE = "test_resnet"
FEW = [
    *(
        "--data=SyntheticBirds",
        "--data.image_size=32",
        "--data.train_size=16",
        "--data.val_size=8",
        "--data.test_size=8",
    ),
    *("--data.batch_size=8", "--data.num_workers=0", f"--model.backbone={BACKBONE}", "--model.weights=null"),
    *("--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.enable_progress_bar=false"),
    *("--trainer.enable_model_summary=false", "--gallery.every_n_epochs=0"),
]
"""Arguments that make any method train in a second."""


class Seeds:
    """Inputs that are as they should be, made once; subjects mutate copies.

    Args:
        folder: to write them into.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.csv = write_csv(folder / "own")
        self.waterbirds = write_waterbirds(folder / "waterbirds")
        self.cub = write_cub_tree(folder / "cub", train=2, test=1)
        self.images = self._images(folder / "images")
        self.masks = self._masks(folder / "masks")
        self.run = RunDirectory(folder / "run")
        fit = ["fit", "--model=AIM", *FEW, "--trainer.max_epochs=1", f"--run_dir={self.run}"]
        code, message = command(fit)
        if code:
            raise RuntimeError(message)
        self.checkpoint = torch.load(self.run.checkpoints / "last.ckpt", weights_only=True)
        self.checkpoint_bytes = (self.run.checkpoints / "last.ckpt").read_bytes()
        self.config = self.run.read_config()
        state = timm.create_model(BACKBONE, pretrained=False).state_dict()
        torch.save(state, folder / "w.pth")
        safetensors.torch.save_file(state, folder / "w.safetensors")
        self.weights = {name: (folder / name).read_bytes() for name in ("w.pth", "w.safetensors")}

    @staticmethod
    def _images(folder: Path) -> list[bytes]:
        folder.mkdir()
        draw = np.random.default_rng(0)
        made = []
        for mode, formats in (
            ("RGB", "jpeg png webp bmp gif tiff ppm ico"),
            ("L", "jpeg png tiff"),
            ("RGBA", "png webp"),
        ):
            for kind in formats.split():
                image = Image.fromarray(draw.integers(0, 255, (32, 48, 3), dtype=np.uint8)).convert(mode)
                exif = Image.Exif()
                exif[0x0112] = 6
                image.save(folder / "x", kind, **({"exif": exif} if kind in ("jpeg", "png", "webp", "tiff") else {}))
                made.append((folder / "x").read_bytes())
        for kind, array in (("png", np.full((32, 48), 40_000, np.uint16)), ("tiff", np.ones((32, 48), np.float32))):
            Image.fromarray(array).save(folder / "x", kind)
            made.append((folder / "x").read_bytes())
        made += [
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
            b"/* XPM */\nstatic char *x[] = {};\n",
            b"",
        ]
        return made

    @staticmethod
    def _masks(folder: Path) -> list[tuple[str, bytes]]:
        folder.mkdir()
        mask = np.zeros((32, 48), np.uint8)
        mask[8:20, 8:30] = 255
        made = []
        for array in (mask, mask > 0, mask // 255, mask.astype(np.int64), mask / 255, mask[None]):
            np.save(folder / "x.npy", array)
            made.append(("x.npy", (folder / "x.npy").read_bytes()))
        for mode in ("L", "1", "P", "RGB", "RGBA", "LA"):
            Image.fromarray(mask).convert(mode).save(folder / "x.png")
            made.append(("x.png", (folder / "x.png").read_bytes()))
        return made


Case = tuple[Callable[[], str | None], str]
"""What runs, and what a message has to name."""
Subject = Callable[[Seeds, random.Random, Path], Case]


def command(args: list[str]) -> tuple[int, str]:
    """Run the command line in this process; return its code and, where it failed, its message."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(args)
    text = f"\n{err.getvalue().strip()}"
    if not code:
        return code, ""
    return code, text.rpartition("\nmaskexp: ")[2] if "\nmaskexp: " in text else text.rpartition("\n")[2]


def csv(seeds: Seeds, draw: random.Random, target: Path) -> Case:
    """A mutated table: a user's CSV, WaterBirds' metadata, or one of CUB's lists."""
    kind = draw.randrange(4)
    if kind <= 1:
        file = target / "birds.csv"
        content = seeds.csv.read_text().replace("images/", f"{seeds.csv.parent}/images/")
        content = content.replace("masks/", f"{seeds.csv.parent}/masks/")
        run = lambda: errors_of(check_data("Manifest", csv=str(file), decode=draw.random() < 0.2, workers=1))  # noqa: E731
    else:
        source = seeds.waterbirds if kind == 2 else seeds.cub
        root = target / "root"
        shutil.copytree(source, root, copy_function=link)
        file = draw.choice(sorted(path for path in root.rglob("*") if path.suffix in (".csv", ".txt")))
        content = file.read_text()
        file.unlink()
        name = "WaterBirds" if kind == 2 else "CUB"
        run = lambda: errors_of(check_data(name, root=str(root), workers=1, custom=True))  # noqa: E731
    if draw.random() < 0.3:
        file.write_bytes(mutated_bytes(draw, content.encode()))
    else:
        file.write_text(mutated_text(draw, content), encoding="utf-8", errors="replace", newline="")
    return run, ""


def errors_of(report: Any) -> str:
    """Return all findings of a check as text."""
    return " | ".join(f"{finding.message} {' '.join(finding.items)}" for finding in report.findings)


def link(source: str, target: str) -> None:
    """Stand in for copying large files; what is mutated is written anew."""
    Path(target).hardlink_to(source)


def yaml_file(seeds: Seeds, draw: random.Random, target: Path) -> Case:
    """A mutated configuration, as bytes, as text, or as values."""
    file = target / "row.yaml"
    config = yaml.safe_dump(seeds.config)
    kind = draw.randrange(4)
    if kind == 0:
        file.write_bytes(mutated_bytes(draw, config.encode()))
    elif kind == 1:
        short = "layers: [base.yaml]\nmodel: AIM\na: &a {x: [1, *b]}\nb: &b 1e-4\nc: {<<: *a}\nd: !!int 3\n"
        file.write_text(mutated_text(draw, short), errors="replace")
        (target / "base.yaml").write_text("data: {class_path: SyntheticBirds, init_args: {seed: 1}}\n")
    elif kind == 2:
        file.write_text(mutated_text(draw, config), errors="replace")
    else:
        file.write_text(yaml.safe_dump(mutated_value(draw, seeds.config), default_flow_style=draw.random() < 0.5))
    if draw.random() < 0.02:
        return lambda: command(["fit", "--config", str(file), *FAST, f"--run_dir={target / 'r'}"])[1], ""
    return lambda: (read_configuration([file]), "")[1], target.name


FAST = ["--trainer.fast_dev_run=1", "--data.num_workers=0", "--trainer.accelerator=cpu", "--trainer.devices=1"]


def image(seeds: Seeds, draw: random.Random, target: Path) -> Case:
    """A mutated image file under any suffix."""
    file = target / f"photo.{draw.choice(('jpg', 'png', 'tif', 'webp', 'gif', 'JPG'))}"
    file.write_bytes(
        mutated_bytes(draw, draw.choice(seeds.images)) if draw.random() < 0.95 else draw.choice(seeds.images)
    )
    if draw.random() < 0.02:
        out = str(target / "out")
        return lambda: command(["explain", str(seeds.run.checkpoints / "last.ckpt"), str(file), "--out", out])[
            1
        ], "photo"
    return lambda: (stored_size(file), read_rgb(file), "")[2], file.name


def mask(seeds: Seeds, draw: random.Random, target: Path) -> Case:
    """A mutated mask, as an image or as an array."""
    name, content = draw.choice(seeds.masks)
    file = target / name
    file.write_bytes(mutated_bytes(draw, content))
    return lambda: (stored_size(file), read_mask(file), "")[2], file.name


def archive(seeds: Seeds, draw: random.Random, target: Path) -> Case:
    """A tar or zip with damaged bytes or with members that no official archive has."""
    file = target / f"data.{draw.choice(('tar', 'tar.gz', 'tgz', 'tar.bz2', 'tar.xz', 'zip'))}"
    names = [
        "data/a",
        "data/b/c",
        "attributes.txt",
        *draw.choices([*NASTY_TEXTS, "data", "data/a/b", "../x", "/x"], k=2),
    ]
    if file.suffix == ".zip":
        with zipfile.ZipFile(file, "w", draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as made:
            for name in names[: draw.randrange(1, len(names) + 1)]:
                info = zipfile.ZipInfo(name.encode("utf-8", "replace").decode()[:200] or "x")
                info.external_attr = draw.choice((0, 0, 0o100644, 0o120777, 0o040755, 0o010644)) << 16
                made.writestr(info, draw.randbytes(draw.randrange(600)))
    else:
        mode = {"tar": "w", "gz": "w:gz", "tgz": "w:gz", "bz2": "w:bz2", "xz": "w:xz"}[file.name.rpartition(".")[2]]
        with tarfile.open(file, mode) as tar:  # type: ignore[call-overload]
            for name in names[: draw.randrange(1, len(names) + 1)]:
                info = tarfile.TarInfo(name)
                info.type = draw.choice((b"0", b"0", b"0", b"1", b"2", b"3", b"5", b"6", b"L", b"x", b"S", b"7"))
                info.linkname = draw.choice(("", "data/a", "../../x", "/etc/passwd"))
                info.size = draw.randrange(600) if info.type in (b"0", b"7", b"x", b"L") else 0
                tar.addfile(info, io.BytesIO(draw.randbytes(info.size)))
    if draw.random() < 0.6:
        file.write_bytes(mutated_bytes(draw, file.read_bytes()))

    def run() -> str:
        root = target / "root"
        try:
            with redirect_stderr(io.StringIO()):
                extract(file, root)
        except Exception:
            if root.exists():
                raise AssertionError("a refused archive left something") from None
            raise
        return "".join("a link in it" for path in root.rglob("*") if path.is_symlink())

    return run, file.name


def checkpoint(seeds: Seeds, draw: random.Random, target: Path) -> Case:
    """A checkpoint with damaged bytes or with other values."""
    file = target / "broken.ckpt"
    if draw.random() < 0.5:
        file.write_bytes(mutated_bytes(draw, seeds.checkpoint_bytes))
    else:
        content = dict(seeds.checkpoint)
        key = draw.choice(("maskexp", "hyper_parameters", "datamodule_hyper_parameters", "state_dict", "callbacks", ""))
        if key:
            content[key] = mutated_value(draw, plain(content[key]))
        else:
            content = mutated_value(draw, content)
        torch.save(content, file)

    def run() -> str:
        load_method(file)
        trusted(checkpoint_layer("test", file), read_configuration([]), [], file)
        return ""

    choice = draw.random()
    if choice < 0.02:
        return lambda: command(
            ["test", f"--ckpt_path={file}", "--trainer.accelerator=cpu", f"--run_dir={target / 'r'}"]
        )[1], ""
    if choice < 0.05:
        photo = str(seeds.csv.parent / "images/image 0.png")
        return lambda: command(["explain", str(file), photo, "--out", str(target / "out")])[1], "broken.ckpt"
    return run, "broken.ckpt"


def plain(value: Any) -> Any:
    """Return mappings as plain dictionaries, so that they can be mutated; tensors stay."""
    return dict(value) if isinstance(value, dict) else value


def weights(seeds: Seeds, draw: random.Random, target: Path) -> Case:
    """A file of weights with damaged bytes or other entries."""
    name = draw.choice(sorted(seeds.weights))
    file = target / name
    if name.endswith(".pth") and draw.random() < 0.4:
        state = torch.load(seeds.folder / name, weights_only=True)
        torch.save(mutated_value(draw, dict(state)), file)
    else:
        file.write_bytes(mutated_bytes(draw, seeds.weights[name]))
    return lambda: (create_timm(BACKBONE, str(file), (32, 32), num_classes=2), "")[1], name


def run_directory(seeds: Seeds, draw: random.Random, target: Path) -> Case:
    """A run in which one file is damaged, missing or a folder, read by all that read runs."""
    shutil.copytree(
        seeds.run.path, target / "run", copy_function=link, ignore=shutil.ignore_patterns("gallery", "logs")
    )
    run = RunDirectory(target / "run")
    file = draw.choice((run.config_file, run.config_file, run.env_file, run.metrics_file, run.done_file))
    content = file.read_bytes()
    file.unlink()
    kind = draw.randrange(8)
    if kind == 0:
        file.mkdir()
    elif kind <= 3:
        file.write_bytes(mutated_bytes(draw, content))
    elif kind <= 5:
        file.write_text(mutated_text(draw, content.decode()), errors="replace")
    elif file.suffix == ".yaml":
        file.write_text(yaml.safe_dump(mutated_value(draw, deepcopy(seeds.config))))
    elif file.suffix == ".json":
        file.write_text(json.dumps(mutated_value(draw, json.loads(content))))
    last = run.checkpoints / "last.ckpt"

    def read() -> str:
        locate("fit", str(run), "last")
        locate("test", str(run), "best")
        trusted(checkpoint_layer("fit", last), read_configuration([]), [], last)
        run.read_env()
        run.read_metrics()
        run.update_metrics({"test/acc": 0.5})
        run.update_env({"ended": None})
        return ""

    if draw.random() < 0.03:
        return lambda: command(["fit", f"--run_dir={run}", "--ckpt_path=last"])[1], ""
    if draw.random() < 0.03:
        return lambda: command(["test", f"--run_dir={run}", "--ckpt_path=best"])[1], ""
    return read, "run"


SUBJECTS: dict[str, tuple[Subject, int]] = {
    "CSV": (csv, 20),
    "YAML": (yaml_file, 20),
    "image": (image, 18),
    "mask": (mask, 10),
    "archive": (archive, 16),
    "checkpoint": (checkpoint, 8),
    "weights": (weights, 5),
    "run directory": (run_directory, 5),
}
"""Each subject with its share of a run, in percent or so."""


# --- command lines -------------------------------------------------------------------------------------------------

MODELS = (
    "AIM",
    "ERM",
    "CAD",
    "COMET",
    "BottomUp",
    "DynConv",
    "InputMasked",
    "AIN",
    "maskexp.methods.AIM",
    "evil.AIM",
    "os.system",
)
DATA = ("SyntheticBirds", "Manifest", "WaterBirds", "CUB", "CelebA", "Imagenette", "SynteticBirds", "evil.Data")
VALUE_FLAGS = (
    *(
        "--model.lr",
        "--model.backbone_lr",
        "--model.weight_decay",
        "--model.schedule",
        "--model.optimizer",
        "--model.tau",
    ),
    *(
        "--model.warmup_epochs",
        "--model.milestones",
        "--model.gamma",
        "--model.stages",
        "--model.gumbel",
        "--model.weights",
    ),
    *(
        "--model.backbone",
        "--model.frozen_backbone",
        "--model.hiding",
        "--model.t",
        "--model.init_args.lr",
        "--model.class_path",
    ),
    *(
        "--data.root",
        "--data.csv",
        "--data.seed",
        "--data.test_split",
        "--data.foreground",
        "--data.cache",
        "--data.masks",
    ),
    *(
        "--data.classes",
        "--data.columns",
        "--data.crop_scale",
        "--data.rotation",
        "--data.photometric",
        "--data.resize",
    ),
    *("--trainer.max_epochs", "--trainer.max_steps", "--trainer.max_time", "--trainer.precision", "--trainer.logger"),
    *(
        "--trainer.limit_train_batches",
        "--trainer.val_check_interval",
        "--trainer.gradient_clip_val",
        "--trainer.plugins",
    ),
    *(
        "--trainer.callbacks",
        "--trainer.accumulate_grad_batches",
        "--trainer.check_val_every_n_epoch",
        "--trainer.profiler",
    ),
    *("--selection.metric", "--gallery.every_n_epochs", "--evaluations", "--seed_everything", "--test_after_fit"),
    *("--save_attributions", "--ckpt_path", "--config", "--optimizer.lr", "--lr", "--model", "--data", "--trainer"),
)
"""Without those that start processes, or fill the memory by what they ask for."""


def arguments(seeds: Seeds, draw: random.Random, target: Path) -> Case:
    """A command line of known and unknown verbs, flags and values, many of them nasty."""
    verb = draw.choices(
        ("fit", "validate", "test", "predict", "explain", "data", "table", "matrix", "audit", "export", "report", ""),
        (8, 2, 3, 2, 5, 12, 3, 2, 2, 2, 2, 2),
    )[0]
    args = list(MAKERS.get(verb, _nothing)(seeds, draw, target))
    for _ in range(draw.choice((0, 0, 1))):
        places = [i for i, arg in enumerate(args) if str(target) not in arg]  # where to write stays as it is
        if places:
            place = draw.choice(places)
            args[place] = mutated_text(draw, args[place])
    args = [arg.replace("\0", "") for arg in args]  # no shell hands one on
    return lambda: command(args)[1], ""


def _value(seeds: Seeds, draw: random.Random) -> str:
    usual = (
        "0.1",
        "1",
        "-1",
        "2",
        "[1,2]",
        "{a: 1}",
        "true",
        "cosine",
        "sgd",
        "none",
        "best",
        "last",
        "32",
        "CSVLogger",
    )
    places = (
        str(seeds.csv),
        str(seeds.run.path),
        str(seeds.run.checkpoints / "best.ckpt"),
        str(seeds.folder / "w.pth"),
    )
    return draw.choice((*usual, *usual, *places, *NASTY_TEXTS))


def _training(verb: str) -> Callable[[Seeds, random.Random, Path], Iterator[str]]:
    def make(seeds: Seeds, draw: random.Random, target: Path) -> Iterator[str]:
        yield verb
        if verb == "fit":
            if draw.random() < 0.9:
                yield f"--model={draw.choices(MODELS, [6] * 7 + [1] * (len(MODELS) - 7))[0]}"
            yield from FEW
            if draw.random() < 0.15:
                yield f"--data={draw.choice(DATA)}"
        else:
            yield "--trainer.accelerator=cpu"
            if draw.random() < 0.9:
                yield f"--ckpt_path={seeds.run.checkpoints / 'best.ckpt'}"
        for _ in range(draw.choice((0, 1, 1, 2, 3))):
            flag, value = draw.choice(VALUE_FLAGS), _value(seeds, draw)
            yield from draw.choice(([f"{flag}={value}"], [f"{flag}={value}"], [flag, value], [flag]))
        yield f"--run_dir={target / 'r'}"
        if verb == "fit":
            yield "--trainer.fast_dev_run=1"

    return make


def _explain(seeds: Seeds, draw: random.Random, target: Path) -> Iterator[str]:
    yield "explain"
    yield draw.choice((str(seeds.run.checkpoints / "best.ckpt"), _value(seeds, draw)))
    for _ in range(draw.randrange(3)):
        yield draw.choice((str(seeds.csv.parent / "images/image 0.png"), _value(seeds, draw)))
    yield from draw.choice(([], ["--json"], ["--jsn"], ["--map", "own"], ["--map", _value(seeds, draw)]))
    yield from ("--out", str(target / "out"))


def _audit(seeds: Seeds, draw: random.Random, target: Path) -> Iterator[str]:
    run = shutil.copytree(seeds.run.path, target / "run", ignore=shutil.ignore_patterns("gallery", "logs"))
    yield from ("audit", draw.choice((str(run / "checkpoints/best.ckpt"), _value(seeds, draw))))
    yield from ("--images=4", "--resamples=10", "--device=cpu", "--data.num_workers=0")
    flags = ("--split", "--map", "--threshold", "--hiding", "--tolerance", "--seed", "--json", "--fail-on", "--x")
    for flag in draw.sample((*flags, "--data.root", "--data.batch_size"), draw.randrange(4)):
        yield from draw.choice(([flag], [flag, _value(seeds, draw)]))


def _report(seeds: Seeds, draw: random.Random, target: Path) -> Iterator[str]:
    run = shutil.copytree(seeds.run.path, target / "run", ignore=shutil.ignore_patterns("gallery"))
    if draw.random() < 0.3:
        file = run / draw.choice(("metrics.json", "env.json", "config.yaml"))
        file.write_bytes(file.read_bytes()[: draw.randrange(200)])
    yield from ("report", draw.choice((str(run), str(run), _value(seeds, draw))), "--images=4", "--device=cpu")
    yield from ("--out", str(target / "report.html"), "--data.num_workers=0")
    for flag in draw.sample(
        ("--title", "--seed", "--runs", "--data.root", "--data.foreground", "--x"), draw.randrange(3)
    ):
        yield from draw.choice(([flag], [flag, _value(seeds, draw)]))


def _export(seeds: Seeds, draw: random.Random, target: Path) -> Iterator[str]:
    yield from ("export", draw.choice((str(seeds.run.checkpoints / "best.ckpt"), _value(seeds, draw))))
    yield str(target / draw.choice(("model.onnx", "model.pt2", "model", "a/b.onnx", "x.ckpt")))
    yield from draw.choice(([], ["--map", _value(seeds, draw)], ["--x"], [_value(seeds, draw)]))


def _data(seeds: Seeds, draw: random.Random, target: Path) -> Iterator[str]:
    yield "data"
    action = draw.choice(("list", "check", "check", "check", "prepare", "prepare", "make", "chek"))
    yield action
    roots = (str(seeds.waterbirds), str(seeds.cub), str(seeds.csv), str(seeds.csv.parent), str(target / "none"))
    if action == "check":
        yield draw.choice((*DATA, _value(seeds, draw)))
        yield draw.choice((*roots, _value(seeds, draw)))
        for _ in range(draw.randrange(3)):
            flag = draw.choice(
                ("--csv", "--cub_root", "--decode", "--sha", "--json", "--custom", "--columns", "--classes", "--x")
            )
            yield from draw.choice(([flag], [flag, draw.choice((*roots, _value(seeds, draw)))]))
    elif action == "prepare":
        yield draw.choice((*DATA, _value(seeds, draw)))
        yield str(target / "root")
        yield from draw.choice(
            ([], ["--raw", draw.choice((*roots, _value(seeds, draw)))], ["--max_unpacked", _value(seeds, draw)])
        )
    elif action == "make":
        yield draw.choice(("waterbirds", "travelingbirds", "x"))
        yield str(target / "made")
        flags = (
            "--cub_root",
            "--land",
            "--water",
            "--places",
            "--correlation",
            "--seed",
            "--quality",
            "--val_fraction",
        )
        for flag in draw.sample(flags, draw.randrange(len(flags))):
            yield from (flag, draw.choice((*roots, _value(seeds, draw))))


def _study(verb: str) -> Callable[[Seeds, random.Random, Path], Iterator[str]]:
    def make(seeds: Seeds, draw: random.Random, target: Path) -> Iterator[str]:
        file = target / "study.yaml"
        whole = "name: s\nrows:\n- name: a\n  config: [row.yaml]\n  overrides: {model: ERM}\nseeds: [0, 1]\n"
        file.write_text(mutated_text(draw, whole), errors="replace")
        yield verb
        yield draw.choice((str(file), str(file), str(seeds.run.config_file), _value(seeds, draw)))
        if verb == "matrix":
            yield "--dry-run"
        for _ in range(draw.randrange(2)):
            yield draw.choice(("--json", "--runs", "--format", "--x", _value(seeds, draw)))

    return make


def _nothing(seeds: Seeds, draw: random.Random, target: Path) -> Iterator[str]:
    yield draw.choice(("--help", "--version", "ftt", "", "data", "-h", *NASTY_TEXTS))
    for _ in range(draw.randrange(3)):
        yield _value(seeds, draw)


MAKERS: dict[str, Callable[[Seeds, random.Random, Path], Iterator[str]]] = {
    **{verb: _training(verb) for verb in ("fit", "validate", "test", "predict")},
    **{verb: _study(verb) for verb in ("table", "matrix")},
    "explain": _explain,
    "audit": _audit,
    "export": _export,
    "report": _report,
    "data": _data,
}
