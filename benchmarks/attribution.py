"""Score-CAM and RISE beside pytorch-grad-cam, torch-cam and a loop, and beside the forward passes that they need.

Usage:
    python benchmarks/attribution.py [NETWORK[=WEIGHTS] ...] [--image FILE] [--rounds N] [--masks N] [--threads T]

NETWORK is timm's name, WEIGHTS a file of its weights; without one they are random, which leaves fewer channels constant
than training does. One image of 224². All take turns within a round; a figure is the median over the rounds of the
processor time (of the wall time on several threads), and of its ratio to the bare forward passes of the same round.
These are as many as the map cannot do without (Score-CAM: the channels that are not constant), on images that lie
ready, in the batches and the layout in memory of maskexp. ``bf16`` is the setting ``precision=bf16``. ``differs`` is
the largest difference to our map in float32, both stretched to [0, 1] and enlarged to the image, and the correlation
with it.

* torch-cam: Score-CAM with batches of 32. pytorch-grad-cam: with its 16, and a host sync for each mask.
* loop: Score-CAM and RISE by their formulas, one mask at a time.
* RISE, released: masks by scikit-image, all of them in memory, then batches of 100, as in the authors' notebook.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytorch_grad_cam
import torch
import torch.nn.functional as F
import tqdm
from PIL import Image
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from skimage.transform import resize
from torch import Tensor
from torchcam.methods import ScoreCAM
from torchvision.transforms.v2.functional import center_crop, pil_to_tensor
from torchvision.transforms.v2.functional import resize as resized

from maskexp.attribution import rise, score_cam
from maskexp.attribution.forward import ON_CPU, in_precision, laid_out
from maskexp.attribution.perturbation import RiseMasks
from maskexp.metrics.functional.inputs import minmax_normalize
from maskexp.models import Classifier

SIZE, BATCH, CELLS, KEEP = 224, 32, 8, 0.5
BARE = "bare forward passes"
Way = Callable[[], Tensor | None]


def bare(network: Classifier, image: Tensor, passes: int) -> dict[str, Way]:
    """Return the forward passes alone, by name."""
    images = laid_out(image.expand(ON_CPU, -1, -1, -1).clone())

    def run() -> None:
        for start in range(0, passes, ON_CPU):
            network(images[: min(ON_CPU, passes - start)])

    def in_bfloat16() -> None:
        with in_precision(images, "bf16"):
            run()

    return {BARE: run, f"{BARE}, bf16": in_bfloat16}


def score_cams(network: Classifier, image: Tensor, target: int, layer: str) -> dict[str, Way]:
    """Return the ways to Score-CAM by name."""
    normalized, plain = network.normalize(image), network.network
    chosen = torch.tensor([target])

    def by_torch_cam() -> Tensor:
        with ScoreCAM(plain, layer, batch_size=BATCH) as extractor:
            return extractor(target, plain(normalized))[0][:, None]

    def by_pytorch_grad_cam() -> Tensor:
        with pytorch_grad_cam.ScoreCAM(plain, [plain.get_submodule(layer)]) as extractor:
            return torch.from_numpy(extractor(normalized, [ClassifierOutputTarget(target)]))[:, None]

    def by_loop() -> Tensor:
        activations = network(image).features
        scores = []
        for channel in activations[0]:
            mask = F.interpolate(minmax_normalize(channel[None, None]), SIZE, mode="bilinear")
            scores.append(plain(normalized * mask)[0, target].item())
        weights = torch.tensor(scores).softmax(dim=0)[None, :, None, None]
        return (weights * activations).sum(dim=1, keepdim=True).relu()

    return {
        "maskexp": lambda: score_cam(network, image, chosen),
        "maskexp, bf16": lambda: score_cam(network, image, chosen, precision="bf16"),
        "torch-cam": by_torch_cam,
        "pytorch-grad-cam": by_pytorch_grad_cam,
        "loop": by_loop,
    }


def rises(network: Classifier, image: Tensor, target: int, masks: int) -> dict[str, Way]:
    """Return the ways to RISE by name, all with the same grids and shifts."""
    normalized, plain = network.normalize(image), network.network
    drawn = RiseMasks(masks, CELLS, KEEP, (SIZE, SIZE), 0, image.device)

    def released() -> Tensor:
        step = -(-SIZE // CELLS)
        soft = np.empty((masks, 1, SIZE, SIZE), dtype=np.float32)
        for i, grid in enumerate(drawn.grids.numpy()):
            large = resize(grid, [(CELLS + 1) * step] * 2, order=1, mode="reflect", anti_aliasing=False)
            down, right = (int(shift[i]) for shift in drawn.shifts)
            soft[i, 0] = large[down : down + SIZE, right : right + SIZE]
        ready = torch.from_numpy(soft)
        stack = ready * normalized
        scores = torch.cat([plain(stack[i : i + 100]).softmax(dim=1)[:, target] for i in range(0, masks, 100)])
        return (scores @ ready.flatten(1)).view(1, 1, SIZE, SIZE) / (masks * KEEP)

    def by_loop() -> Tensor:
        total = torch.zeros(1, 1, SIZE, SIZE)
        for i in range(masks):
            mask = drawn(i, i + 1)
            total += plain(normalized * mask).softmax(dim=1)[0, target].item() * mask
        return total / (masks * KEEP)

    chosen = torch.tensor([target])
    return {
        "maskexp": lambda: rise(network, image, chosen, masks=masks, cells=CELLS, keep=KEEP),
        "maskexp, bf16": lambda: rise(network, image, chosen, masks=masks, cells=CELLS, keep=KEEP, precision="bf16"),
        "released code": released,
        "loop": by_loop,
    }


def differs(found: Tensor, ours: Tensor) -> str:
    """Return the largest difference to our map, and the correlation with it."""
    enlarged = [F.interpolate(minmax_normalize(each), SIZE, mode="bilinear") for each in (found, ours)]
    stretched = [minmax_normalize(each).flatten() for each in enlarged]
    correlation = torch.corrcoef(torch.stack(stretched))[0, 1].item()
    return f"{(stretched[0] - stretched[1]).abs().max().item():.1e}, {correlation:.4f}"


def photograph(path: Path | None) -> Tensor:
    """Return an image ``(1, 3, 224, 224)`` in [0, 1]; smooth noise if there is no file."""
    if path is None:
        return F.interpolate(torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)), SIZE, mode="bilinear")
    pixels = pil_to_tensor(Image.open(path).convert("RGB"))
    return center_crop(resized(pixels, [SIZE]), [SIZE, SIZE])[None] / 255


def compare(title: str, ways: dict[str, Way], passes: dict[str, Way], rounds: int, clock: Callable[[], float]) -> None:
    """Measure the ways in turns and print a row for each."""
    taken: dict[str, list[float]] = {}
    maps: dict[str, Tensor | None] = {}
    for _ in range(rounds):
        for name, run in {**passes, **ways}.items():
            begin = clock()
            maps[name] = run()
            taken.setdefault(name, []).append(clock() - begin)
    for name, seconds in taken.items():
        ratio = statistics.median(a / b for a, b in zip(seconds, taken[BARE], strict=True))
        found, ours = maps[name], maps["maskexp"]
        same = "" if found is None or ours is None or name == "maskexp" else differs(found, ours)
        print(f"| {title} | {name} | {statistics.median(seconds):.1f} | {ratio:.2f} | {same} |", flush=True)


@torch.inference_mode()
def main() -> None:
    """Measure and print one Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=["resnet18"], metavar="NETWORK[=WEIGHTS]")
    parser.add_argument("--image", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--masks", type=int, default=500)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    clock = time.process_time if arguments.threads == 1 else time.perf_counter
    warnings.filterwarnings("ignore")
    tqdm.tqdm = lambda steps, *_, **__: steps  # pytorch-grad-cam's bar on stderr
    image = photograph(arguments.image)
    print("| map | way | s an image | × bare | differs |\n|---|---|---|---|---|")
    for each in arguments.networks:
        name, _, weights = each.partition("=")
        torch.manual_seed(0)
        network = Classifier(name, 1000, weights or None, (SIZE, SIZE)).eval()
        prediction = network(image)
        target, activations = int(prediction.logits.argmax()), prediction.features.flatten(2)
        channels = activations.shape[1]
        constant = int((activations.amax(dim=2) == activations.amin(dim=2)).sum())
        sys.stderr.write(f"{name}: {constant} of {channels} channels are constant\n")
        layer = "layer4" if hasattr(network.network, "layer4") else "bn2"
        ways = score_cams(network, image, target, layer)
        compare(f"Score-CAM, {name}", ways, bare(network, image, channels - constant), arguments.rounds, clock)
        ways = rises(network, image, target, arguments.masks)
        compare(f"RISE, {name}", ways, bare(network, image, arguments.masks), arguments.rounds, clock)


if __name__ == "__main__":
    main()
