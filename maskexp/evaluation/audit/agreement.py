"""Stability: whether the mask stays on the same content under noise, crops and flips, and between checkpoints."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from maskexp.evaluation.audit.findings import Estimate, Finding, Resampling, percent
from maskexp.evaluation.audit.questioning import Answers, Questioning, iou

__all__ = ["between_networks", "stability"]

PART, BETWEEN = "stability", "between_checkpoints"
QUESTION = "How much of the mask stays on the same content under noise, crops and flips (IoU)?"
BETWEEN_QUESTION = "How much do the masks of differently trained networks agree (IoU)?"
SIGMA, CROP, HALF = 0.05, 7 / 8, 0.5
"""Standard deviation of the noise in [0, 1], the side of the crop, and the IoU that a stable mask keeps (ours)."""


def stability(asked: Questioning, interval: Resampling, seed: int) -> Finding:
    """Compare masks of disturbed images with those of the originals, moved in the same way.

    The disturbances are Gaussian noise of standard deviation 0.05 on pixels in [0, 1], a crop of 7/8 of each side at a
    random place, enlarged again, and a horizontal flip. The number is the mean IoU over the three. The control is the
    IoU with the mask of another image: masks that always lie in the same place agree with anything. Masks are *stable*
    if they keep an IoU of one half and agree more than the control, with the whole interval. Two empty masks have no
    IoU, and do not count.

    Details are ``<disturbance>_mask_iou`` and ``<disturbance>_decisions``, the share of decisions that stay.

    Args:
        asked: network and sample.
        interval: the bootstrap.
        seed: of noise and crops.
    """
    shown = asked.base.shown
    height, width = asked.size
    side = (max(round(height * CROP), 1), max(round(width * CROP), 1))
    corners = asked.draws(2, seed, 7)

    def noisy(images: Tensor, numbers: Tensor) -> Tensor:
        drawn = asked.draws_of_pixels(numbers, images.shape[1], seed, 8)
        return (images + SIGMA * drawn).clamp(0, 1)

    def cropped(images: Tensor, numbers: Tensor) -> Tensor:
        cut = _cut(images, corners[numbers], side)
        return F.interpolate(cut, size=(height, width), mode="bilinear", align_corners=False).clamp(0, 1)

    disturbed = {
        "noise": (asked.ask(noisy), shown),
        "crop": (asked.ask(cropped), F.interpolate(_cut(shown.float(), corners, side), size=(height, width)) > 0),
        "flip": (asked.ask(lambda images, _: images.flip(-1)), shown.flip(-1)),
    }
    overlaps = {name: iou(answers.shown, expected) for name, (answers, expected) in disturbed.items()}
    details: dict[str, Estimate] = {f"{name}_mask_iou": interval(values) for name, values in overlaps.items()}
    for name, (answers, _) in disturbed.items():
        details[f"{name}_decisions"] = interval((answers.decided == asked.base.decided).float())
    mean = torch.stack(list(overlaps.values())).nanmean(dim=0)
    if bool(mean.isnan().all()):
        return Finding.not_asked(PART, QUESTION, "every mask is empty, so that there is nothing to compare")
    return _finding(PART, QUESTION, mean, _with_another(asked, [asked.base], seed), interval, details)


def between_networks(asked: list[Questioning], interval: Resampling, seed: int) -> Finding:
    """Compare masks and decisions of several networks on the same images.

    The number is the mean IoU over all pairs, the control the mean IoU with the other network's mask of another image.
    Details are ``decisions``, the share of images that a pair decides alike, and, with three or more networks,
    ``pair_<i>_<j>_mask_iou``.

    Args:
        asked: two networks or more, with the same sample.
        interval: the bootstrap.
        seed: of the control's choice of other images.

    Raises:
        ValueError: if there is one network alone.
    """
    if len(asked) < 2:
        raise ValueError("masks are compared between networks, and there is one alone; give another checkpoint")
    pairs = [(i, j) for i in range(len(asked)) for j in range(i + 1, len(asked))]
    overlaps = [iou(asked[i].base.shown, asked[j].base.shown) for i, j in pairs]
    alike = [(asked[i].base.decided == asked[j].base.decided).float() for i, j in pairs]
    details = {"decisions": interval(torch.stack(alike).mean(dim=0))}
    if len(pairs) > 1:
        for (i, j), values in zip(pairs, overlaps, strict=True):
            details[f"pair_{i + 1}_{j + 1}_mask_iou"] = interval(values)
    control = _with_another(asked[0], [each.base for each in asked], seed)
    mean = torch.stack(overlaps).nanmean(dim=0)
    if bool(mean.isnan().all()):
        return Finding.not_asked(BETWEEN, BETWEEN_QUESTION, "every mask is empty, so that there is nothing to compare")
    return _finding(BETWEEN, BETWEEN_QUESTION, mean, control, interval, details)


def _finding(
    part: str, question: str, values: Tensor, control: Tensor, interval: Resampling, details: dict[str, Estimate]
) -> Finding:
    number, chance = interval(values), interval(control)
    details["beyond_control"] = beyond = interval(values - control)
    if number.low >= HALF and beyond.low > 0:
        verdict, beginning = "stable", "Masks stay where they are"
    elif number.high < HALF or beyond.high <= 0:
        verdict, beginning = "unstable", "Masks do not stay where they are"
    else:
        verdict, beginning = "undecided", "Undecided whether masks stay where they are"
    if beyond.n and beyond.high <= 0:
        beginning = "Masks lie in the same place whatever the image shows"
    kept = [each for name, each in details.items() if name.endswith("decisions")]
    ious = {name.removesuffix("_mask_iou"): each for name, each in details.items() if name.endswith("_mask_iou")}
    overlaps = {name: each for name, each in ious.items() if each.n}
    least = min(overlaps, key=lambda name: overlaps[name].value, default="")
    lowest = f" ({least.replace('_', ' ')} {overlaps[least].value:.2f})" if least else ""
    agreement = sum(each.value for each in kept) / len(kept)
    sentence = (
        f"{beginning}: IoU {number.value:.2f}{lowest}, with masks of other images {chance.value:.2f}; "
        f"{percent(agreement)} of the decisions agree."
    )
    return Finding(part, question, number, chance, "masks of other images", verdict, sentence, details)


def _with_another(asked: Questioning, answers: list[Answers], seed: int) -> Tensor:
    """Return the IoU of each mask with that of another image, of the next network where there are several."""
    other = asked.donors(None, seed, 9)
    pairs = list(zip(answers, answers[1:] or answers, strict=False))
    overlaps = [iou(first.shown, second.shown[other.clamp(min=0)]) for first, second in pairs]
    return torch.where(other >= 0, torch.stack(overlaps).nanmean(dim=0), torch.nan)


def _cut(values: Tensor, corners: Tensor, side: tuple[int, int]) -> Tensor:
    """Cut windows of one size out of ``(B, C, H, W)``, each at its own place, given in shares of what is left over."""
    height, width = values.shape[-2:]
    cut = []
    for each, (down, right) in zip(values, corners.tolist(), strict=True):
        top, left = round(down * (height - side[0])), round(right * (width - side[1]))
        cut.append(each[:, top : top + side[0], left : left + side[1]])
    return torch.stack(cut)
