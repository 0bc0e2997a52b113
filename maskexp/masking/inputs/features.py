"""Features that carry their visibility through a network.

A :class:`MaskedFeatures` is handed to the network in the place of an image. PyTorch passes each operation on it to
the rule for that operation, so any architecture works whose operations have rules, whatever its modules are called.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache, partial
from inspect import Parameter, signature
from itertools import count
from typing import Any, Literal

import torch
from torch import Tensor

from maskexp.masking.inputs.neighbours import Plans

Padding = Literal["neighbour", "zero", "partial"]
Rule = Callable[..., Any]


class NoRuleError(Exception):
    """An operation on masked features has no rule; the message says which one."""


@dataclass(slots=True)
class Propagation:
    """What all features of one forward pass share.

    Attributes:
        rules: what to do for an operation, by its name.
        pointwise: names of the operations that treat each position by itself.
        padding: what a convolution sees in the place of hidden neighbours.
        numbers: numbers for features, in the order in which they are computed.
        plans: how each mask is filled, see :func:`~maskexp.masking.inputs.neighbours.neighbour_padding`.
        masks: masks that were computed from others, by what was done with which; the others are kept with them, so that
            nothing else has their identity. Layers that share a mask share its plan.
        hidden: rows of hidden positions by the identity of the masks of visible ones and of the margin, which are kept.
    """

    rules: Mapping[str, Rule]
    pointwise: frozenset[str]
    padding: Padding
    numbers: count[int] = field(default_factory=count)
    plans: Plans = field(default_factory=dict)
    masks: dict[tuple[Any, ...], tuple[Tensor, tuple[Tensor, ...]]] = field(default_factory=dict)
    hidden: dict[tuple[int, int], tuple[Tensor, tuple[Tensor, Tensor | None]]] = field(default_factory=dict)

    def mask(self, what: Hashable, compute: Callable[..., Tensor], *masks: Tensor) -> Tensor:
        """Return ``compute(*masks)``, computed once; on a CPU, what equals one of the masks is that mask itself.

        In a residual block a convolution makes the visible part grow, and the sum with the block's input undoes it.
        """
        key = (what, *map(id, masks))
        if key not in self.masks:
            found = compute(*masks)
            if found.device.type == "cpu":  # on others, comparing waits for the device
                found = next((mask for mask in masks if torch.equal(mask, found)), found)
            self.masks[key] = (found, masks)
        return self.masks[key][0]


class MaskedFeatures(Tensor):
    """Features ``(B, C, h, w)``, or channels-last ``(B, h, w, C)``, and what of them is visible.

    Hidden values are never read, but not set to zero before it matters: see :meth:`zeroed`.

    Attributes:
        plain: the features as an ordinary tensor.
        visible: bool, the shape of the features with one channel.
        channel: the channel axis.
        margin: ``(1, 1, h, w)`` bool, positions that padding added around the image; None if there are none. They are
            constants of the network: neither visible nor to be filled.
        propagation: what the whole forward pass shares.
        number: of these features among all of the pass.
        ancestors: the bit of each number that these features were computed from is set.
    """

    plain: Tensor
    visible: Tensor
    channel: int
    margin: Tensor | None
    propagation: Propagation
    number: int
    ancestors: int

    @classmethod
    def of_images(cls, images: Tensor, visible: Tensor, propagation: Propagation) -> MaskedFeatures:
        """Return images ``(B, C, H, W)`` as masked features; hidden pixels become 0."""
        layout = torch.channels_last if images.is_contiguous(memory_format=torch.channels_last) else None
        values = torch.where(visible, images, 0)
        values = values if layout is None else values.contiguous(memory_format=layout)
        result: MaskedFeatures = values.as_subclass(cls)
        result.plain, result.visible, result.channel, result.margin = values, visible, 1, None
        result.propagation = propagation
        result.number, result.ancestors = next(propagation.numbers), 0
        return result

    def derive(
        self,
        values: Tensor,
        visible: Tensor,
        channel: int | None = None,
        margin: Tensor | None = None,
        parents: tuple[MaskedFeatures, ...] = (),
    ) -> MaskedFeatures:
        """Return new features that were computed from these, and from further ``parents``."""
        result: MaskedFeatures = values.as_subclass(MaskedFeatures)
        result.plain, result.visible, result.margin = values, visible, margin
        result.channel = self.channel if channel is None else channel
        result.propagation, result.number = self.propagation, next(self.propagation.numbers)
        result.ancestors = 0
        for parent in (self, *parents):
            result.ancestors |= parent.ancestors | 1 << parent.number
        return result

    def zeroed(self) -> Tensor:
        """Return the features as a plain tensor, exactly 0 where hidden."""
        by_position = (0, *self.spatial, self.channel)
        if (
            self.plain.device.type != "cpu"
            or self.plain.requires_grad
            or not self.plain.permute(by_position).is_contiguous()
        ):
            return torch.where(self._known(), self.plain, 0)
        # Position by position, which is faster on a CPU than a choice for each value.
        kept, key = self.propagation.hidden, (id(self.visible), id(self.margin))
        if key not in kept:
            kept[key] = ((~self._known()).flatten().nonzero()[:, 0], (self.visible, self.margin))
        values = self.plain.clone()
        values.permute(by_position).flatten(0, -2).index_fill_(0, kept[key][0], 0)
        return values

    def _known(self) -> Tensor:
        return self.visible if self.margin is None else self.visible | self.margin

    @property
    def spatial(self) -> tuple[int, ...]:
        """The spatial axes."""
        return tuple(axis for axis in range(1, self.plain.ndim) if axis != self.channel)

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Hand an operation to its rule."""
        kwargs = kwargs or {}
        name = operation_name(func)
        features = args[0] if args and isinstance(args[0], cls) else _first_of(cls, (*args, *kwargs.values()))
        if features is None:
            raise NoRuleError(name)
        if name in _METADATA:
            return func(*(_strip(arg) for arg in args), **kwargs)
        if name in features.propagation.pointwise:
            return _pointwise(func, args, kwargs)
        rule = features.propagation.rules.get(name)
        if rule is None:
            raise NoRuleError(name)
        return _bound(rule, name, args, kwargs)()


def operation_name(func: Any) -> str:
    """Return the name of an operation, the same for a function, a method and an operator; of a property, its own."""
    name: str = func.__name__
    return str(func.__self__.__name__) if name == "__get__" else name


def unwrap(output: Any) -> Any:
    """Return what a network returned with plain tensors, 0 where hidden; containers and dataclasses are rebuilt."""
    if isinstance(output, MaskedFeatures):
        return output.zeroed()
    if isinstance(output, list | tuple):
        items = [unwrap(item) for item in output]
        return type(output)(*items) if hasattr(output, "_fields") else type(output)(items)
    if isinstance(output, dict):
        return {key: unwrap(item) for key, item in output.items()}
    if is_dataclass(output) and not isinstance(output, type):
        return replace(output, **{f.name: unwrap(getattr(output, f.name)) for f in fields(output) if f.init})
    return output


def _bound(rule: Rule, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[], Any]:
    """Bind arguments to a rule by torch's spellings of them."""
    if kwargs:
        kwargs = {"dim" if key == "axis" else key: value for key, value in kwargs.items()}
        args = (*(kwargs.pop(first) for first in ("input", "tensors") if first in kwargs), *args)
    required, names, anything = _parameters(rule)
    rest = names[len(args) :]
    if anything or len(args) > len(names) or not kwargs.keys() <= {*rest} or not kwargs.keys() >= {*rest} & required:
        try:
            _signature(rule).bind(*args, **kwargs)  # slow; it knows the other signatures, and what to complain about
        except TypeError as error:
            raise NoRuleError(f"{name} with other arguments than usual ({error})") from error
    return partial(rule, *args, **kwargs)


_signature = cache(signature)


@cache
def _parameters(rule: Rule) -> tuple[frozenset[str], tuple[str, ...], bool]:
    """Return which arguments a rule requires, all in their order, and whether it has others than named ones."""
    parameters = signature(rule).parameters.values()
    required = frozenset(each.name for each in parameters if each.default is Parameter.empty)
    named = all(each.kind is Parameter.POSITIONAL_OR_KEYWORD for each in parameters)
    return required, tuple(each.name for each in parameters), not named


def _pointwise(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> MaskedFeatures:
    """Run an operation that treats each position by itself; the result is visible where all its operands are."""
    operands = [value for value in _flat((*args, *kwargs.values())) if isinstance(value, MaskedFeatures)]
    first = operands[0]
    visible, margin = first.visible, first.margin
    for other in operands[1:]:
        if other.channel != first.channel or other.visible.shape != visible.shape:
            raise NoRuleError(f"{operation_name(func)} of features on different grids")
        if other.visible is not visible:
            visible = first.propagation.mask("and", torch.logical_and, visible, other.visible)
        margin = other.margin if margin is None else margin
    if "out" in kwargs:
        raise NoRuleError(f"{operation_name(func)} into another tensor")
    values = func(*(_strip(arg) for arg in args), **{key: _strip(value) for key, value in kwargs.items()})
    if any(values is arg for arg in args):
        raise NoRuleError(f"{operation_name(func)} in place, into a tensor that does not know what is visible")
    if values.ndim != visible.ndim or values.narrow(first.channel, 0, 1).shape != visible.shape:
        raise NoRuleError(f"{operation_name(func)} that changes the shape")
    if values is first.plain:  # in place: whoever holds these features sees the change, as without a mask
        first.visible, first.margin = visible, margin
        for other in operands[1:]:
            first.ancestors |= other.ancestors | 1 << other.number
        return first
    return first.derive(values, visible, margin=margin, parents=tuple(operands[1:]))


def _first_of(kind: type[MaskedFeatures], values: tuple[Any, ...]) -> MaskedFeatures | None:
    return next((value for value in _flat(values) if isinstance(value, kind)), None)


def _flat(values: tuple[Any, ...]) -> list[Any]:
    """Open lists and tuples of arguments, one level deep."""
    return [item for value in values for item in (value if isinstance(value, list | tuple) else (value,))]


def _strip(value: Any) -> Any:
    return value.plain if isinstance(value, MaskedFeatures) else value


_METADATA = frozenset(
    {
        *("__len__", "__repr__", "__format__", "dim", "get_device", "is_contiguous", "is_floating_point", "numel"),
        *("size", "stride", "device", "dtype", "is_cuda", "layout", "ndim", "requires_grad", "shape", "grad_fn"),
    }
)
"""What may be asked of masked features as of any tensor."""
