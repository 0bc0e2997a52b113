"""A trained method as one program from images to logits, masks and attribution, by ``torch.export``."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export
from torch.fx import Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.attention import SDPBackend, sdpa_kernel

from maskexp.attribution import attribution_map
from maskexp.masking import GumbelBinarizer
from maskexp.masking.inputs import Fill, InputMasking
from maskexp.methods import Method
from maskexp.models.network import Network
from maskexp.types import OWN, DataSpec, Prediction

__all__ = ["ExportError", "Outputs", "convolution_backward", "export_program", "quiet"]

EXAMPLES = 2
"""Images with which a program is traced; a batch of 1 would be taken for a constant."""


class ExportError(ValueError):
    """A trained method cannot be exported; the message says why."""


class Outputs(nn.Module):
    """A network whose prediction is a tuple of tensors, with the attribution in pixels.

    Args:
        network: in evaluation mode.
        stand_in: ``(features, target) -> map``, the own attribution where the network gives none.

    Attributes:
        names: of the outputs, in their order.
    """

    def __init__(self, network: Network, stand_in: nn.Module | None, masks: int) -> None:
        super().__init__()
        self.network, self.stand_in = network, stand_in
        self.names = ("logits", *(f"mask_{number}" for number in range(1, masks + 1)), "attribution")

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return logits ``(B, K)``, each mask ``(B, 1, h, w)`` and the attribution ``(B, 1, H, W)``."""
        prediction: Prediction = self.network(images)
        if self.stand_in is not None and prediction.features is not None:
            target = prediction.logits.argmax(dim=1)
            prediction.attributions[OWN] = self.stand_in(prediction.features.contiguous(), target)
        attribution = prediction.attribution_at((images.shape[-2], images.shape[-1]))
        outputs = (prediction.logits, *prediction.masks, attribution)
        return tuple(output.float() for output in outputs if output is not None)


def export_program(method: Method) -> tuple[ExportedProgram, tuple[str, ...]]:
    """Return a trained method as a program for batches of any size, and the names of its outputs.

    The program holds what evaluation computes, densely: masks without noise, in float32, on the CPU. The attribution is
    the method's own, as ``maskexp explain`` shows it: the merged mask, or else Grad-CAM of the predicted class, whose
    gradient is traced into plain operations.

    Args:
        method: with weights and a specification, as :func:`~maskexp.methods.load_method` returns it.

    Returns:
        The program, ``images (B, 3, H, W)`` float32 in [0, 1] of the specification's size to a tuple, and the names
        ``logits``, ``mask_1`` and so on in the order of :attr:`Prediction.masks`, and ``attribution``.

    Raises:
        ExportError: if the method draws its masks, or computes what no fixed program can.
    """
    spec, network = _trained(method)
    images = torch.rand(EXAMPLES, 3, *spec.image_size, generator=torch.Generator().manual_seed(0))
    with _dense(network), torch.no_grad(), quiet():
        prediction: Prediction = network(images)
        stand_in = None
        if OWN not in prediction.attributions and prediction.features is not None:
            stand_in = _traced_grad_cam(network, prediction)
        outputs = Outputs(network, stand_in, len(prediction.masks)).eval()
        names = outputs.names[: len(outputs(images))]
        try:
            program = export(outputs, (images,), dynamic_shapes=({0: Dim("batch")},), strict=False)
        except Exception as error:  # torch.export's errors have no common class
            raise ExportError(f"{_named(method)} cannot be exported: {_reason(error)}") from error
    _refuse_draws(program, method)
    return program, names


def _trained(method: Method) -> tuple[DataSpec, Network]:
    if method.spec is None or not method.is_built:
        raise ExportError("only a method with its network and the specification of its data can be exported; load one")
    if method.network.unexportable:
        raise ExportError(f"{_named(method)} cannot be exported: {method.network.unexportable}")
    hiding = [value for value in vars(method.network).values() if isinstance(value, InputMasking)]
    if changing := [type(value).__name__ for value in hiding if not isinstance(value, Fill)]:
        raise ExportError(
            f"{_named(method)} cannot be exported: it hides by {changing[0]}, which changes what each layer computes "
            "with the mask at hand, as no fixed program can; ways of hiding that paint, such as grey, can be exported"
        )
    drawing = [
        module for module in method.network.modules() if isinstance(module, GumbelBinarizer) and module.eval_noise
    ]
    if drawing:
        raise ExportError(
            f"{_named(method)} cannot be exported: it was trained with eval_noise, so that it draws its masks anew "
            "each time and no two answers agree; train it with --model.eval_noise false"
        )
    return method.spec, method.network.eval()


def _traced_grad_cam(network: Network, prediction: Prediction) -> nn.Module:
    """Return Grad-CAM as plain operations ``(features, target) -> map``: its gradient is a program like any other."""
    explained = attribution_map("grad_cam")

    def compute(features: Tensor, target: Tensor) -> Tensor:
        return explained(network, features, target, features)

    if prediction.features is None:
        raise ExportError(f"{type(network).__name__} gives no features, from which Grad-CAM is computed")
    # Features that lie channels-last, and fused attention, have backward passes that ONNX has no operation for.
    features, target = prediction.features.contiguous(), prediction.logits.argmax(dim=1)
    rules = {torch.ops.aten.convolution_backward.default: convolution_backward}
    trace: Callable[..., nn.Module] = make_fx(
        compute, tracing_mode="symbolic", decomposition_table=rules, _allow_non_fake_inputs=True
    )
    with sdpa_kernel(SDPBackend.MATH):
        return trace(features, target)


def convolution_backward(
    gradient: Tensor,
    inputs: Tensor,
    weight: Tensor,
    _: object,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    wanted: Sequence[bool],
) -> tuple[Tensor | None, None, None]:
    """Return the gradient of a convolution's input as a transposed convolution, which ONNX has an operation for."""
    if transposed or any(wanted[1:]):
        raise ExportError(
            "the layers behind the last features have a transposed convolution, whose gradient ONNX lacks"
        )
    left_over = [
        size - ((given - 1) * step - 2 * pad + spread * (kernel - 1) + 1)
        for size, given, step, pad, spread, kernel in zip(
            inputs.shape[2:], gradient.shape[2:], stride, padding, dilation, weight.shape[2:], strict=True
        )
    ]
    result: Tensor = torch.ops.aten.convolution(
        gradient, weight, None, stride, padding, dilation, True, left_over, groups
    )
    return result, None, None


@contextmanager
def _dense(network: Network) -> Iterator[None]:
    """Let a network compute everywhere: which positions are active is not known to a program."""
    settings: Any = vars(network)  # past torch's module, which types its attributes as tensors
    before = settings.get("sparse_below")
    if before is not None:
        settings["sparse_below"] = 0.0
    try:
        yield
    finally:
        if before is not None:
            settings["sparse_below"] = before


@contextmanager
def quiet() -> Iterator[None]:
    """Keep torch's remarks on its own tracing from the terminal; what matters of them becomes an error."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _refuse_draws(program: ExportedProgram, method: Method) -> None:
    for node in program.graph.nodes:
        if _draws(node):
            raise ExportError(
                f"{_named(method)} cannot be exported: its evaluation draws random numbers ({node.target}), so that no "
                "two answers agree"
            )


def _draws(node: Node) -> bool:
    """Return whether an operation of a program gives another result each time."""
    if torch.Tag.nondeterministic_seeded not in getattr(node.target, "tags", ()):
        return False
    if node.target is torch.ops.aten.dropout.default:
        return node.args[2] is not False
    return node.target is not torch.ops.aten.scaled_dot_product_attention.default or any(node.args[4:5])


def _named(method: Method) -> str:
    return f"{type(method).__name__} on {method.backbone}"


def _reason(error: Exception) -> str:
    """Return why torch.export gave up."""
    first = str(error).strip().splitlines()[:1]
    if "data-dependent" in str(error) or "DataDependent" in type(error).__name__:
        return "what it computes next depends on values that it has just computed, which no fixed program can"
    return f"torch.export cannot follow its forward pass ({first[0] if first else type(error).__name__})"
