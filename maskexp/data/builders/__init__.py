"""Builders: each turns the official layout of one data set into a manifest. They need no torch."""
