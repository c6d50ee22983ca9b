"""foolbox's minimum-norm attacks as falsefloor estimators.

foolbox is imported when an attack runs and not before: a study that names none of them never waits for it.
"""
