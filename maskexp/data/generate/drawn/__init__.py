"""Drawn images: shapes, birds and scenes.

Everything here is float64 arithmetic with ``+ - * /``, ``sqrt`` and comparisons on arrays, and draws of
``Generator.random`` and ``Generator.integers``: IEEE 754 rounds each of them in one way only, so that a seed gives
the same pixels on every machine. No sine, exponential or normal draw, no sum over floats.
"""
