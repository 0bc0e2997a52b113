"""Backbones: any timm network as a feature pyramid or as a whole classifier, by name.

Weights come from timm's hub, from a local file, or from nowhere. Every backbone takes images in [0, 1] and
normalises them with the statistics of its own weights.
"""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import safetensors
import safetensors.torch
import timm
import torch
from timm.data.config import resolve_model_data_config
from timm.models import PretrainedCfg
from torch import Tensor, nn

import maskexp.models.small  # noqa: F401  registers small_convnet with timm
from maskexp.serialization import load_tensors, require_weights
from maskexp.suggestions import did_you_mean

SIZES = (8, 16, *range(32, 513, 32))
"""Sides of images that a message proposes where others do not pass through a network."""
REASON = 300
"""Characters of torch's list of tensors that do not fit which a message repeats."""
HUB = "timm"
"""The value of ``weights`` that asks for timm's default pretrained weights of the network."""


def create_timm(name: str, weights: str | None, image_size: tuple[int, int], **options: Any) -> nn.Module:
    """Create a timm network, or one of our variants of it, with the weights asked for.

    Besides timm's names, ``small_convnet`` is ours for small images (:mod:`maskexp.models.small`), and
    ``resnet50_v1``, ``resnet101_v1`` and ``resnet152_v1`` name the first kind of ResNet, which strides in the first 1×1
    convolution of a block instead of the 3×3 one (He et al., CVPR 2016; the layout of the Keras and Caffe weights).

    Args:
        name: name of the network.
        weights: ``timm`` for the hub's default weights, a path to a ``.safetensors`` or PyTorch state dictionary with
            timm's names, or None for random weights.
        image_size: (height, width), for networks that are built for one size.
        options: further arguments of :func:`timm.create_model`; with ``num_classes`` the head is new unless the weights
            have one for as many classes.

    Raises:
        ValueError: if no such network exists, if it cannot take images of this size, or if the file does not fit it: a
            shape differs, or less than half of the network's weights are in it.
        FileNotFoundError: if ``weights`` is a path to no file.
    """
    base, adapt = _of_timm(name)
    config = timm.get_pretrained_cfg(base)
    if config is not None and config.fixed_input_size:
        options["img_size"] = image_size
    _check_image_size(base, name, image_size, options)
    state: dict[str, Tensor] | None = None
    if weights is not None:
        options["pretrained"] = True
        if weights != HUB:
            state = read_state_dict(weights, name)
            options["pretrained_cfg_overlay"] = {"state_dict": state}
            classes = _classes(state, config)
            if "num_classes" in options and classes is not None:  # timm keeps a head of as many classes as it is told
                options["pretrained_cfg_overlay"]["num_classes"] = classes
        elif adapt is not None:
            raise ValueError(f"timm's hub has no weights for {name!r}; give a file or weights: null")
    try:
        network = timm.create_model(base, **options)
    except RuntimeError as error:
        if weights is None or "state_dict" not in str(error):
            raise
        reason = textwrap.shorten(str(error), REASON, placeholder=" …")
        raise ValueError(f"the weights {weights!r} do not fit the network {name!r}: {reason}") from error
    if state is not None:
        _check_arrived(network, state, f"the network {name!r} came from {weights!r}")
    if adapt is not None:
        adapt(network)
    return network


def _of_timm(name: str) -> tuple[str, Callable[[nn.Module], None] | None]:
    """Return timm's own name of a network, and what makes one of our variants of it.

    Raises:
        ValueError: if there is no such network.
    """
    if not isinstance(name, str):
        raise ValueError(f"a backbone is named by a text, not by {name!r}")
    base, adapt = _VARIANTS.get(name, (name, None))
    if not timm.is_model(base):
        hint = did_you_mean(base, [*timm.list_models(), *_VARIANTS], "timm.list_models() names them all")
        if timm.is_model(base.removeprefix("timm/")):
            hint = f"drop timm/: {base.removeprefix('timm/')}"
        raise ValueError(f"timm has no network called {name!r}; {hint}")
    return base, adapt


def published_preprocessing(name: str) -> dict[str, Any]:
    """Return how timm prepares images for a network, as :func:`timm.data.create_transform` takes it.

    Args:
        name: of the network.

    Returns:
        ``input_size`` (3, H, W), ``interpolation``, ``mean``, ``std``, ``crop_pct`` and ``crop_mode``.

    Raises:
        ValueError: if there is no such network.
    """
    base, _ = _of_timm(name)
    with torch.device("meta"):
        found: dict[str, Any] = resolve_model_data_config(timm.create_model(base))  # type: ignore[no-untyped-call]
    return found


def head_classes(name: str, weights: str) -> int:
    """Return for how many classes the head of a network's weights is.

    Args:
        name: of the network.
        weights: ``timm`` or a file, see :func:`create_timm`.

    Raises:
        ValueError: if there is no such network, or the file has no head, or cannot be read.
        FileNotFoundError: if ``weights`` is a path to no file.
    """
    base, _ = _of_timm(name)
    config = timm.get_pretrained_cfg(base)
    if weights == HUB:
        with torch.device("meta"):
            return int(cast(Any, timm.create_model(base)).num_classes)
    classes = _classes(read_state_dict(weights, name), config)
    if classes is None:
        layer = config.classifier if config is not None else None
        raise ValueError(
            f"the weights {weights!r} have no head for the network {name!r} ({layer}.weight), so that they classify "
            "nothing; give weights with one"
        )
    return classes


def _check_image_size(base: str, name: str, image_size: tuple[int, int], options: Mapping[str, Any]) -> None:
    """Refuse a size of images that a network cannot take, from the shapes alone; nothing is computed.

    A network that fails at every size fails for another reason, which whoever builds it is told.

    Raises:
        ValueError: if it takes larger images only, or others.
    """
    if _takes(base, image_size, options):
        return
    own = timm.get_pretrained_cfg(base)
    sizes = {*SIZES, *(own.input_size[1:] if own is not None else ())}
    larger = (size for size in sorted(sizes) if size > min(image_size))
    fitting = next((size for size in larger if _takes(base, (size, size), options)), None)
    if fitting is not None:
        raise ValueError(
            f"{name!r} cannot take images of {image_size[1]}x{image_size[0]} pixels; give --data.image_size {fitting}, "
            "for example, or another --model.backbone"
        )


def _takes(base: str, image_size: tuple[int, int], options: Mapping[str, Any]) -> bool:
    """Return whether two images of a size pass through a network."""
    fitted = {**options, "img_size": image_size} if "img_size" in options else options
    with torch.device("meta"), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            timm.create_model(base, **fitted).eval()(torch.zeros(2, 3, *image_size))
        except (RuntimeError, AssertionError, ArithmeticError, ValueError, LookupError, AttributeError):
            return False
    return True


class Backbone(nn.Module):
    """The last stages of a timm network as a feature pyramid.

    Any network that timm serves with ``features_only`` works, hierarchical transformers (Swin) included: their
    channels-last maps are turned round.

    Args:
        name: timm's name of the network, or one of our variants (:func:`create_timm`).
        stages: how many of the last stages to return.
        weights: ``timm``, a file, or None (:func:`create_timm`).
        image_size: (height, width) of the images.
        frozen: keep weights and batch-norm statistics as they are.

    Attributes:
        channels: channels of each returned stage, shallow to deep.
        strides: pixels a cell of each returned stage, shallow to deep.

    Raises:
        ValueError: if the network is unknown, is no pyramid, or has fewer stages.
    """

    def __init__(
        self,
        name: str,
        stages: int = 1,
        weights: str | None = HUB,
        image_size: tuple[int, int] = (224, 224),
        frozen: bool = False,
    ) -> None:
        super().__init__()
        _check_stages(name, stages, image_size)
        self.name = name
        self.network = create_timm(name, weights, image_size, features_only=True, out_indices=tuple(range(-stages, 0)))
        info: Any = self.network.feature_info
        self.channels: tuple[int, ...] = tuple(info.channels())
        self.strides: tuple[int, ...] = tuple(info.reduction())
        self.channels_last = str(getattr(self.network, "output_fmt", "NCHW")).endswith("NHWC")
        self.normalize = Normalize.of(self.network)
        self.frozen = frozen
        if frozen:
            self.requires_grad_(False)
        self.train(self.training)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return features ``(B, C_i, H / stride_i, W / stride_i)``, shallow to deep, for images ``(B, 3, H, W)``."""
        features: list[Tensor] = self.network(self.normalize(images))
        return [stage.permute(0, 3, 1, 2) for stage in features] if self.channels_last else features

    def train(self, mode: bool = True) -> Backbone:
        """Switch to training mode; a frozen backbone stays in evaluation mode."""
        return super().train(mode and not self.frozen)


class Normalize(nn.Module):
    """Subtract a mean and divide by a standard deviation per channel, ``(B, 3, H, W) -> (B, 3, H, W)``."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    @classmethod
    def of(cls, network: nn.Module) -> Normalize:
        """Return the normalisation that a timm network's weights were trained with."""
        config: Any = network.pretrained_cfg
        return cls(tuple(config["mean"]), tuple(config["std"]))

    def forward(self, images: Tensor) -> Tensor:
        """Normalise images in [0, 1]; the result has the type of the network's parameters (``bf16-true``).

        Raises:
            ValueError: if the images are integers, that is, pixels from 0 to 255.
        """
        if not images.is_floating_point():
            raise ValueError(f"the images are {images.dtype}; networks take floats in [0, 1], so divide pixels by 255")
        return ((images - self.mean) / self.std).to(self.mean.dtype)


def _check_stages(name: str, stages: int, image_size: tuple[int, int]) -> None:
    """Refuse a number of stages that the network does not have, before any weights are read."""
    if stages < 1:
        raise ValueError(f"stages is {stages}; a pyramid needs at least 1 stage")
    with torch.device("meta"):
        try:
            pyramid = create_timm(name, None, image_size, features_only=True, out_indices=(-1,))
        except (AttributeError, RuntimeError) as error:
            raise ValueError(f"timm does not serve {name!r} as a feature pyramid: {error}") from error
    available = len(pyramid.feature_info.info)  # type: ignore[union-attr, arg-type]
    if stages > available:
        raise ValueError(f"stages is {stages}, but {name!r} has {available}; choose 1 to {available}")


def read_state_dict(path: str, name: str | None = None) -> dict[str, Tensor]:
    """Read a state dictionary with timm's names from a file that need not be trusted.

    Args:
        path: a ``.safetensors`` or PyTorch file, or a checkpoint of ours whose network has a backbone in it.
        name: of timm's network that the weights are for; None for another one, whose names stay as they are.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file holds no weights, or is a checkpoint of ours of another network.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no weights at {path!r}; give a file, 'timm' for the hub's weights, or null for none")
    if path.endswith(".safetensors"):
        try:
            return require_weights(safetensors.torch.load_file(path), path)
        except (safetensors.SafetensorError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is not a safetensors file that can be read; get it again") from error
    content = load_tensors(path)
    state = require_weights(content.get("state_dict", content), path)
    arguments, entry = content.get("hyper_parameters"), content.get("maskexp")
    if not isinstance(arguments, Mapping) or not isinstance(entry, Mapping):
        return state
    method, trained = entry.get("method"), arguments.get("backbone")
    if name is not None and trained != name.rpartition("/")[2]:
        raise ValueError(
            f"the weights {path!r} are a checkpoint of {method} on {trained}, not on {name}; give --model.backbone "
            f"{trained}, or other weights"
        )
    for part in _PARTS:
        if own := {key.removeprefix(part): tensor for key, tensor in state.items() if key.startswith(part)}:
            if name is None:
                return own
            named, filters = _under_timms_names(own, name)
            if 2 * len(named.keys() & filters) >= len(filters):
                return named
    raise ValueError(
        f"the weights {path!r} are a checkpoint of {method}, whose layers are not those of timm's network; give one of "
        "ERM, AIM, BottomUp or COMET, or other weights"
    )


_PARTS = ("network.network.", "network.backbone.network.", "network.predictor.network.")
"""Where the timm network stands in a checkpoint: of a plain classifier, of a pyramid, of COMET."""


def _under_timms_names(state: Mapping[str, Tensor], name: str) -> tuple[dict[str, Tensor], set[str]]:
    """Return weights under the names of the whole network, and its names of matrices and filters.

    timm renames the layers of a pyramid.
    """
    with torch.device("meta"):
        whole = timm.create_model(_VARIANTS.get(name, (name, None))[0]).state_dict()
    known = {key.replace(".", "_"): key for key in whole}
    named = {known.get(key.removeprefix("model.").replace(".", "_"), key): tensor for key, tensor in state.items()}
    return named, {key for key, tensor in whole.items() if tensor.ndim > 1}


def _classes(state: Mapping[str, Tensor], config: PretrainedCfg | None) -> int | None:
    """Return for how many classes the head of a state dictionary is, or None if it has none under timm's name."""
    name = config.classifier if config is not None else None
    head = state.get(f"{name if isinstance(name, str) else name[0]}.weight") if name else None
    return None if head is None else len(head)


def _check_arrived(network: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Refuse a file of which little has arrived: timm passes over tensors whose names it does not know."""
    given = {_fingerprint(tensor) for tensor in state.values() if tensor.ndim > 1}
    arrived = [_fingerprint(parameter) in given for parameter in network.parameters() if parameter.ndim > 1]
    if 2 * sum(arrived) < len(arrived):
        raise ValueError(
            f"only {sum(arrived)} of {len(arrived)} weights of {what}, whose tensors have other names than timm's or "
            "belong to another network; rename them, or give another file"
        )


def _fingerprint(tensor: Tensor) -> tuple[int, float]:
    """Return what a tensor keeps when timm renames or reshapes it."""
    return tensor.numel(), tensor.detach().double().sum().item()


def _stride_in_first_convolution(network: nn.Module) -> None:
    """Move the stride of each bottleneck from its 3×3 to its first 1×1 convolution."""
    for module in network.modules():
        first, second = getattr(module, "conv1", None), getattr(module, "conv2", None)
        if isinstance(first, nn.Conv2d) and isinstance(second, nn.Conv2d) and first.kernel_size == (1, 1):
            first.stride, second.stride = second.stride, first.stride


_VARIANTS: dict[str, tuple[str, Callable[[nn.Module], None]]] = {
    f"{name}_v1": (name, _stride_in_first_convolution) for name in ("resnet50", "resnet101", "resnet152")
}
