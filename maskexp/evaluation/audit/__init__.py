"""The audit: is the mask the reason for the decision, or does the mask itself carry the answer?

Five questions are put to a trained network, on a sample of a split, from the three contracts alone. Each ends in a
number with a bootstrap interval, a control and a verdict in a plain sentence; see
:class:`~maskexp.evaluation.audit.Audit`.

Example:
    >>> from maskexp.data import SyntheticBirds
    >>> from maskexp.methods import AIM
    >>> birds = SyntheticBirds(image_size=32, train_size=8, val_size=8, test_size=8, batch_size=8)
    >>> method = AIM(backbone="small_convnet", weights=None, feature_width=8)
    >>> method.build(birds.spec)
    >>> network = method.eval().network
    >>> settings = AuditSettings(hiding=("grey",), resamples=20)
    >>> findings = audit_network(network, birds.fetch("test", range(8)), birds.spec, settings)
    >>> [finding.part for finding in findings]
    ['hidden_influence', 'mask_as_code', 'sufficiency', 'completeness', 'stability', 'right_reasons']
"""

from maskexp.evaluation.audit.agreement import between_networks
from maskexp.evaluation.audit.audit import Audit, AuditSettings, audit_network
from maskexp.evaluation.audit.findings import VERDICTS, Estimate, Finding
from maskexp.evaluation.audit.questioning import Questioning
from maskexp.evaluation.audit.sample import chosen_rows

__all__ = [
    "VERDICTS",
    "Audit",
    "AuditSettings",
    "Estimate",
    "Finding",
    "Questioning",
    "audit_network",
    "between_networks",
    "chosen_rows",
]
