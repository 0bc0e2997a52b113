"""A small probe: what a classifier that sees nothing but some numbers of each image can know of its class."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["held_out_predictions"]

FOLDS, HIDDEN, STEPS = 5, 32, 100
RATE, DECAY = 2e-2, 1e-2


def held_out_predictions(inputs: Tensor, label: Tensor, classes: int, seed: int) -> Tensor:
    """Return the class that a small network predicts for each image, trained on the other images alone.

    The images are split into five folds; for each a network with one hidden layer of 32 units is trained on the other
    four (AdamW, 100 steps on all of them at once) and predicts it. All draws are seeded, nothing is tuned (ours).

    Args:
        inputs: ``(N, D)`` numbers of each image.
        label: ``(N,)`` int64.
        classes: how many there are.
        seed: of folds and first weights.

    Returns:
        ``(N,)`` int64, on the CPU.
    """
    with torch.inference_mode(False), torch.enable_grad():
        values, target = inputs.detach().cpu().float().clone(), label.cpu().clone()
        fold = torch.from_numpy(np.random.default_rng([seed, len(values)]).permutation(len(values)) % FOLDS)
        predicted = torch.zeros_like(target)
        for number in range(FOLDS):
            held_out = fold == number
            if bool(held_out.any()) and not bool(held_out.all()):
                predicted[held_out] = _trained(values[~held_out], target[~held_out], values[held_out], classes, seed)
    return predicted


def _trained(seen: Tensor, label: Tensor, unseen: Tensor, classes: int, seed: int) -> Tensor:
    mean, spread = seen.mean(dim=0), seen.std(dim=0, correction=0).clamp(min=1e-3)
    seen, unseen = (seen - mean) / spread, (unseen - mean) / spread
    generator = torch.Generator().manual_seed(seed)
    weights = [
        (torch.randn(fan_in, fan_out, generator=generator) / fan_in**0.5).requires_grad_(True)
        for fan_in, fan_out in ((seen.shape[1], HIDDEN), (HIDDEN, classes))
    ]
    biases = [torch.zeros(width, requires_grad=True) for width in (HIDDEN, classes)]
    optimizer = torch.optim.AdamW([*weights, *biases], lr=RATE, weight_decay=DECAY)

    def logits(inputs: Tensor) -> Tensor:
        hidden = (inputs @ weights[0] + biases[0]).relu()
        result: Tensor = hidden @ weights[1] + biases[1]
        return result

    for _ in range(STEPS):
        optimizer.zero_grad()
        torch.autograd.backward(F.cross_entropy(logits(seen), label))
        optimizer.step()
    return logits(unseen).argmax(dim=1).detach()
