"""What a trained classifier is asked: evaluations that need no trainer, chosen by name."""

from maskexp.evaluation.base import Curves, Evaluation, Subject
from maskexp.evaluation.missingness import Missingness
from maskexp.evaluation.standard import Standard

__all__ = ["Curves", "Evaluation", "Missingness", "Standard", "Subject"]
