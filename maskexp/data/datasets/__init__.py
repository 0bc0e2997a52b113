"""One declaration per data set: what it is, its arguments, and how its official layout becomes a manifest."""
