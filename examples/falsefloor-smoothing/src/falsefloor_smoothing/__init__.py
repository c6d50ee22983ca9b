"""Certified radii of a smoothed classifier, with their confidence, as a falsefloor plugin."""
