"""Images made of a cut-out bird and a scene: WaterBirds and TravelingBirds at any correlation, from a seed."""
