"""Pure functions on tensors: balls, supports, margins, secants and the reverse Weibull distribution.

They are a room of their own because every estimator needs the same geometry, and because mathematics is
tested best where nothing else is in the way.
"""
