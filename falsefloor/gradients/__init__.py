"""Gradient sources: the forward of a subject, bit for bit, with another backward.

Estimators differentiate what they are given. Where a masker hides the derivative, a source puts another one
in its place, so that every estimator, third-party ones too, profits without knowing.
"""
