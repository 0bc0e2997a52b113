"""Generated data: composites of birds and scenes, and drawn birds."""
