"""maskexp: the laboratory bench for masking-based, inherently interpretable image classifiers."""

from maskexp._version import __version__

__all__ = ["__version__"]
