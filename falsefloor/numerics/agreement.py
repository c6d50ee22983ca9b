"""When a gradient tells what a function does: one rule for warning FF102 and whoever picks a gradient.

No torch: the warning judges numbers that were stored.
"""

from __future__ import annotations

AGREE = (0.75, 1.33)
"""How much of the function's own change over a step a gradient may predict and still count."""

AGREE_FINE = (0.5, 2.0)
FINE = 0.05
"""Half steps below this share of the radius are judged by the wider band only."""

CORRELATED = 0.9


def disagreement(ratio: float, correlation: float | None, *, share: float) -> str | None:
    """What is wrong with a gradient, in words that follow "the gradient"; None where it agrees.

    ratio: the change that it predicts over the change that is seen, root mean squares over random pairs;
    correlation of the two, None where it is not known; share: half a step over the radius in question.
    """
    low, high = AGREE_FINE if share < FINE else AGREE
    if not low <= ratio <= high:
        return f"is {ratio:.3g} times what the function does"
    if share >= FINE and correlation is not None and correlation < CORRELATED:
        return "hardly follows what the function does"
    return None
