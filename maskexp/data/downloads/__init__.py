"""Official downloads: where they are, what they have to contain, and how they are unpacked safely."""
