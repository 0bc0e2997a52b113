"""Transforms of images and foregrounds: geometry moves both together, photometry changes colours."""
