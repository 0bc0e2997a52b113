"""Trained models in files that need neither a checkpoint nor, to be run, torch.

``metadata``, ``explanation`` and ``onnx_model`` work without torch, ``program`` and ``writing`` do not, so that nothing
is imported here.
"""
