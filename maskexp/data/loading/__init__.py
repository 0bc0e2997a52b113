"""From rows of a manifest to batches: pixels, cache, data set, samplers and the base datamodule."""
