"""The numbers of the validation and the test split, counted beside the method that is judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from maskexp.evaluation import Chart, Evaluation, StandardMetrics
from maskexp.evaluation.keys import ResultKey
from maskexp.metrics.functional.inputs import to_real
from maskexp.types import Batch, Prediction

__all__ = ["Evaluator"]

Split = Literal["val", "test"]


class Evaluator(Callback):
    """Count the evaluations of the validation and the test split, and log their values as ``val/…`` and ``test/…``.

    :class:`~maskexp.evaluation.StandardMetrics` judges every split, with the predictions that the method's
    validation and test steps return. The further evaluations ask their own questions on the test split, about whole
    images; those that choose something on the validation split, such as a threshold, are counted in
    ``trainer.validate`` too.

    Values are logged in float64 (float32 on Apple's MPS) and on every rank alike: a metric has already been reduced
    over the ranks when it is computed.

    Args:
        evaluations: what a test asks beyond :class:`~maskexp.evaluation.StandardMetrics`.

    Attributes:
        charts: what the last validation or test left to be plotted.
    """

    def __init__(self, evaluations: Sequence[Evaluation] = ()) -> None:
        self.evaluations = list(evaluations)
        self.charts: list[Chart] = []
        self._counted: dict[Split, list[Evaluation]] = {"val": [], "test": []}

    @property
    def needs_validation(self) -> bool:
        """Whether an evaluation chooses something on the validation split that the test uses."""
        return any(evaluation.needs_validation for evaluation in self.evaluations)

    # --- which evaluations count a split -------------------------------------------------------------------------

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prepare the validation split; refuse now, rather than after the training, what the test cannot ask."""
        self._prepare("test", pl_module, self.evaluations)
        self._prepare("val", pl_module, [])

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prepare the validation split, unless it was when the training began."""
        if trainer.state.fn != "fit":
            self._prepare("val", pl_module, [each for each in self.evaluations if each.needs_validation])

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prepare the test split."""
        self._prepare("test", pl_module, self.evaluations)

    def _prepare(self, split: Split, pl_module: LightningModule, further: Sequence[Evaluation]) -> None:
        method = cast(Any, pl_module)
        self._counted[split] = [StandardMetrics(), *further]
        for evaluation in self._counted[split]:
            evaluation.prepare(method.spec, method.network)
            evaluation.to(pl_module.device)

    # --- counting ------------------------------------------------------------------------------------------------

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count a validation batch."""
        self._count("val", trainer, pl_module, outputs["prediction"], batch)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count a test batch."""
        self._count("test", trainer, pl_module, outputs["prediction"], batch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the values of the whole validation split."""
        self._report("val", pl_module)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the values of the whole test split."""
        self._report("test", pl_module)

    def _count(
        self, split: Split, trainer: Trainer, pl_module: LightningModule, prediction: Prediction, batch: Batch
    ) -> None:
        method, (standard, *further) = cast(Any, pl_module), self._counted[split]
        # Hooks run outside of the context in which the steps have the trainer's precision.
        with trainer.precision_plugin.forward_context():
            standard.update(method, batch, prediction)
            if further and prediction.visible is not None:
                prediction = method.explain(batch["image"], batch["label"])
            for evaluation in further:
                evaluation.update(method, batch, prediction)

    def _report(self, split: Split, pl_module: LightningModule) -> None:
        values: dict[ResultKey, Tensor] = {}
        self.charts = []
        for evaluation in self._counted[split]:
            answers = evaluation.compute()
            if twice := sorted(values.keys() & answers.keys()):
                raise ValueError(f"two evaluations answer {', '.join(map(str, twice))}; name each evaluation once")
            values |= answers
            self.charts += evaluation.charts()
            if split == "val" and evaluation.needs_validation:
                evaluation.calibrate()
            evaluation.reset()
        pl_module.log_dict({f"{split}/{key}": to_real(value) for key, value in values.items()}, rank_zero_only=False)
