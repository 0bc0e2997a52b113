"""What a method gives its network if the user says nothing."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from maskexp.methods import Method
from maskexp.methods.base import arguments_of


def network_defaults(method: type[Method], network: type[nn.Module]) -> dict[str, Any]:
    """Return the method's defaults of the arguments that the network has no default for."""
    required = {name for name, p in inspect.signature(network).parameters.items() if p.default is p.empty}
    return {name: p.default for name, p in arguments_of(method).items() if name in required - {"backbone"}}
