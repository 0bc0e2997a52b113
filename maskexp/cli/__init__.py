"""The command line: a light dispatcher, the training verbs, and what explains or checks without training."""

__all__: list[str] = []
