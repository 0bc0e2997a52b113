"""Lightning callbacks: what is kept, shown and written while a model trains, is tested or predicts."""

from maskexp.callbacks.checkpoints import KeepCheckpoints, WholeFileCheckpointIO
from maskexp.callbacks.evaluator import Evaluator
from maskexp.callbacks.gallery import Gallery
from maskexp.callbacks.predictions import PredictionWriter
from maskexp.callbacks.preemption import LeaveWhenAsked
from maskexp.callbacks.seeding import SeedSteps

__all__ = [
    "Evaluator",
    "Gallery",
    "KeepCheckpoints",
    "LeaveWhenAsked",
    "PredictionWriter",
    "SeedSteps",
    "WholeFileCheckpointIO",
]
