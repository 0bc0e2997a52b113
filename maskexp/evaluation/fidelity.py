"""Pixel-perturbation fidelity: is the decision taken from the pixels that the attribution points at?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from maskexp.attribution import DEFAULT_MAPS
from maskexp.evaluation.base import Chart
from maskexp.evaluation.keys import ResultKey
from maskexp.evaluation.pixel_perturbation import PATHS, Path, Perturbation, PixelPerturbation, asked_part
from maskexp.masking.inputs import create_input_maskings
from maskexp.metrics import ConstantMaps, PixelFidelity
from maskexp.metrics.functional.pixel_fidelity import Protocol, validated_protocol
from maskexp.metrics.functional.pixel_selection import Classify, share_name, validated_shares
from maskexp.models.network import Network
from maskexp.types import Batch, DataSpec, Prediction

__all__ = ["Fidelity"]

KEYS: dict[str, str] = {"remove": "", "keep": "keep_"}


class Fidelity(PixelPerturbation):
    """Accuracy after the pixels with the highest attribution were hidden, for each way of hiding and each path.

    Keys are ``fidelity/<hiding>/<path>/<percent>`` for the method's own attribution, ``…_<map>`` for the other maps and
    ``…_random`` for random pixels. Lower is better where pixels are removed, *compared with the random ones*: a
    classifier that fails on any perturbed image has a low accuracy for every map. ``fidelity/<path>/00`` is the
    accuracy with nothing hidden, and ``fidelity/constant_maps`` how many maps name no pixel before another.

    The path ``predictor`` shows the perturbed image to the deciding part alone
    (:attr:`~maskexp.models.network.Network.plain_predictor`), as the released code of COMET does: for a network whose
    predictor has only ever seen masked images this is not the decision that is explained. ``pipeline`` runs the whole
    network anew, selection included. For a network without such a part they are the same, and are counted once. Layer
    masking does not pass through the selector of COMET: ``paths: [predictor]`` leaves the other path out.

    Args:
        hiding: ways of hiding, by name (:func:`maskexp.masking.inputs.create_input_masking`); COMET paints the data's
            mean colour, which ``grey`` is for ImageNet.
        shares: of the pixels of an image (COMET: 5, 10 and 20 %).
        paths: ``predictor``, ``pipeline`` or both.
        protocols: ``remove`` the pixels, ``keep`` nothing else (DiET; keys ``…/keep_<percent>``, higher is better).
        maps: which maps are judged: ``own`` and those registered in :mod:`maskexp.attribution`.
        every: judge only rows of the split that are a multiple of this; each takes
            ``(maps + 1) × shares × hiding × protocols`` forward passes for a path.
        seed: of the random pixels, which depend on nothing else but the row.

    Raises:
        ValueError: if an argument is unknown or impossible.
    """

    def __init__(
        self,
        hiding: Sequence[str] = ("grey",),
        shares: Sequence[float] = (0.05, 0.1, 0.2),
        paths: Sequence[Path] = PATHS,
        protocols: Sequence[Protocol] = ("remove",),
        maps: Sequence[str] = DEFAULT_MAPS,
        every: int = 1,
        seed: int = 0,
    ) -> None:
        self.protocols = tuple(dict.fromkeys(map(validated_protocol, protocols)))
        perturbations = [
            Perturbation(protocol, name, masking)
            for name, masking in create_input_maskings(hiding).items()
            for protocol in self.protocols
        ]
        super().__init__(perturbations, maps, paths, every, seed, target="label")
        self.shares = validated_shares(shares)
        self.whole = nn.ModuleDict()
        self.constant = nn.ModuleDict()

    def create_metric(self, kind: str) -> PixelFidelity:
        """Return the accuracy at each share."""
        return PixelFidelity(self.shares, protocol=cast(Protocol, kind))

    def prepare(self, spec: DataSpec, network: Network) -> None:
        """Create the metrics; no foreground is needed."""
        super().prepare(spec, network)
        self.whole = nn.ModuleDict({path: PixelFidelity((0.0,)) for path in self.counted_paths})
        self.constant = nn.ModuleDict({name: ConstantMaps() for name in self.maps})

    def count_more(self, network: Network, batch: Batch, maps: dict[str, Tensor], decided: Tensor) -> None:
        """Count the whole images, where the order of the pixels does not matter, and maps that have no order."""
        for name, attribution in maps.items():
            cast(ConstantMaps, self.constant[name]).update(attribution)
        order = next(iter(maps.values()))
        for path in self.counted_paths:
            whole = cast(PixelFidelity, self.whole[path])
            whole.update(_on_whole_images(asked_part(path, network)), batch["image"], order, batch["label"])

    def compute(self) -> dict[ResultKey, Tensor]:
        """Return ``fidelity/<path>/00``, ``fidelity/<hiding>/<path>/<percent>`` and the constant maps of each map."""
        values = {
            ResultKey("fidelity", f"{path}/00"): next(iter(cast(PixelFidelity, self.whole[counted]).compute().values()))
            for path, counted in self.counted.items()
        }
        for hiding in dict.fromkeys(perturbation.hiding for perturbation in self.perturbations):
            for path in self.paths:
                for perturbation in self.perturbations:
                    if perturbation.hiding == hiding:
                        values |= self._accuracies(perturbation, path)
        counts = {name: cast(ConstantMaps, self.constant[name]).compute() for name in self.maps}
        return values | {ResultKey("fidelity", "constant_maps", name): count for name, count in counts.items()}

    def chart_of(self, perturbation: Perturbation, path: Path) -> Chart:
        """Return the accuracy over the share of pixels."""
        kind, hiding, _ = perturbation
        found = {name: list(self.metric(perturbation, path, name).compute().values()) for name in self.maps}
        return Chart(
            f"fidelity/{hiding}_{path}_{kind}",
            f"share of pixels, highest attribution first, to {kind} ({hiding}, {path})",
            "accuracy",
            self.shares,
            {title: [value.item() for value in found[name]] for name, title in self.titles().items()},
        )

    def _accuracies(self, perturbation: Perturbation, path: Path) -> dict[ResultKey, Tensor]:
        found = {name: list(self.metric(perturbation, path, name).compute().values()) for name in self.maps}
        metric = f"{perturbation.hiding}/{path}/{KEYS[perturbation.kind]}"
        return {
            ResultKey("fidelity", f"{metric}{share_name(share)}", name): accuracies[i]
            for i, share in enumerate(self.shares)
            for name, accuracies in found.items()
        }


def _on_whole_images(part: nn.Module) -> Classify:
    return lambda images, visible: cast(Prediction, part(images)).logits
