"""What a trained classifier is asked: evaluations that need no trainer, chosen by name."""

from maskexp.evaluation.background_gap import BackgroundGap
from maskexp.evaluation.base import Chart, Evaluation, ExplainableClassifier
from maskexp.evaluation.concordance import Concordance
from maskexp.evaluation.fidelity import Fidelity
from maskexp.evaluation.insertion_deletion import InsertionAndDeletion
from maskexp.evaluation.lime import LimeComparison
from maskexp.evaluation.linearity import Linearity
from maskexp.evaluation.localization import LegacyCometLocalization, Localization
from maskexp.evaluation.mask_leakage import MaskLeakage
from maskexp.evaluation.missingness import Missingness
from maskexp.evaluation.robustness import BackgroundRobustness, NoiseRobustness
from maskexp.evaluation.standard_metrics import StandardMetrics
from maskexp.evaluation.sufficiency import SufficiencyAndComprehensiveness

__all__ = [
    "BackgroundGap",
    "BackgroundRobustness",
    "Chart",
    "Concordance",
    "Evaluation",
    "ExplainableClassifier",
    "Fidelity",
    "InsertionAndDeletion",
    "LegacyCometLocalization",
    "LimeComparison",
    "Linearity",
    "Localization",
    "MaskLeakage",
    "Missingness",
    "NoiseRobustness",
    "StandardMetrics",
    "SufficiencyAndComprehensiveness",
]
