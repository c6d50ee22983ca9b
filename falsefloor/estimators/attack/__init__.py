"""Estimator `attack`: the smallest misclassified distance an ensemble that does not trust gradients can
find."""

from falsefloor.estimators.attack.campaign import again
from falsefloor.estimators.attack.ensemble import OWN, Attack

__all__ = ["OWN", "Attack", "again"]
