"""Mutated inputs and random command lines, and what must never follow from them; ``make fuzz`` runs all of it."""
