"""What a trained classifier is asked: evaluations that need no trainer, chosen by name.

Example:
    Any object with a ``network``, a call that predicts and an ``explain`` can be judged; every method is one.

    >>> import torch
    >>> from maskexp.data import SyntheticBirds
    >>> from maskexp.methods import ERM
    >>> birds = SyntheticBirds(image_size=32, train_size=8, val_size=8, test_size=8, batch_size=8)
    >>> method = ERM(backbone="small_convnet", weights=None)
    >>> method.build(birds.spec)
    >>> classifier = method.eval()
    >>> evaluation = Localization(maps=["own"])
    >>> evaluation.prepare(birds.spec, classifier.network)
    >>> batch = birds.fetch("test", range(8))
    >>> evaluation.update(classifier, batch, classifier.explain(batch["image"], batch["label"]))
    >>> values = {str(key): value.item() for key, value in evaluation.compute().items()}
    >>> values["localization/images"], values["localization/epg_ground_truth"]
    (8, 1.0)
"""

from maskexp.evaluation.audit import Audit
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
    "Audit",
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
