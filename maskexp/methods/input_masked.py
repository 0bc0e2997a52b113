"""A plain classifier that is judged with a region hidden from it: layer masking and its rivals as a baseline."""

from __future__ import annotations

from typing import Any, Literal

from maskexp.masking.inputs import create_input_masking
from maskexp.methods.erm import ERM
from maskexp.types import Batch, DataModule, DataSpec, Prediction

__all__ = ["InputMasked"]


class InputMasked(ERM):
    """Trains as :class:`ERM` on whole images; validation, test and prediction hide the background, or the foreground.

    What an object detector or a human's mask could do for a classifier that knows nothing of masks: with the background
    hidden, only the object can decide; with the foreground hidden, what is right is right for a wrong reason. Which way
    of hiding serves best depends on the network (see :class:`~maskexp.evaluation.Missingness`).

    A checkpoint of :class:`ERM` is one of this method too, so that a classifier need not be trained twice:
    ``maskexp test --ckpt_path ERM_CHECKPOINT --model InputMasked --model.hiding grey``.

    The attribution is Grad-CAM of what the network saw; under layer masking with a head of several layers (MobileNetV3)
    it is taken at the average over all cells, of which the hidden ones are 0, not over the visible ones. Further
    evaluations (``--evaluations``) put their own questions to the network behind it, on whole images.

    Args:
        hiding: Way of hiding, by name, e.g. "layer", "grey" or a colour #rrggbb (paper: layer masking).
        hidden: What is hidden, the "background" or the "foreground" (ours: background).
        kwargs: arguments of :class:`~maskexp.methods.base.Method`.

    Raises:
        ValueError: if ``hiding`` or ``hidden`` is unknown; later, if the data has no foreground, or the network has a
            layer that this way of hiding cannot treat.

    Source:
        Balasubramanian & Feizi, "Towards Improved Input Masking for CNNs", ICCV 2023, for layer masking; that the mask
        is the ground truth is ours.
    """

    reads_checkpoints_of = ("ERM",)

    def __init__(
        self, hiding: str = "layer", hidden: Literal["background", "foreground"] = "background", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if hidden not in ("background", "foreground"):
            raise ValueError(f"hidden is {hidden!r}; hide the background or the foreground")
        if hiding == "token_dropping":
            raise ValueError(
                "InputMasked explains what the network saw by Grad-CAM, and token_dropping leaves no map of features "
                "for it; hide the region by a colour in a vision transformer"
            )
        self.hiding = create_input_masking(hiding)
        self.hidden = hidden

    def check_data(self, spec: DataSpec) -> None:
        """Refuse data that does not say what to hide."""
        if spec.foreground == "none":
            raise ValueError(
                f"InputMasked hides the {self.hidden}, and the data {spec.name} has no foregrounds to tell it by; use "
                "data with masks or boxes, or ERM"
            )

    def check_training(self, data: DataModule) -> None:
        """Refuse images of validation or test that have no foreground: training does without."""
        self.check_data(data.spec)
        for split in ("val", "test"):
            try:
                dataset = data.dataset(split)
            except ValueError:  # there is no such split, which is for those to say who need it
                continue
            if without := [str(name) for name, has in zip(dataset.ids, dataset.has_foreground, strict=True) if not has]:
                shown = ", ".join(without[:3]) + (", …" if len(without) > 3 else "")
                raise ValueError(
                    f"{len(without)} images of split {split!r} have no foreground ({shown}), so that InputMasked does "
                    f"not know their {self.hidden}; leave them out, or use ERM"
                )

    def explain_batch(self, batch: Batch) -> Prediction:
        """Return the prediction for the images with the region hidden, and its Grad-CAM.

        Raises:
            ValueError: if an image has no foreground.
        """
        if not bool(batch["has_foreground"].all()):
            rows = batch["index"][~batch["has_foreground"]].tolist()
            raise ValueError(
                f"the images in rows {', '.join(map(str, rows[:5]))} of the split have no foreground, so that "
                f"InputMasked does not know their {self.hidden}; leave them out, or use ERM"
            )
        visible = batch["foreground"] if self.hidden == "background" else ~batch["foreground"]
        prediction: Prediction = self.hiding(self.network, batch["image"], visible)
        prediction.visible = visible
        return self.with_attributions(prediction, batch["image"], batch["label"])
