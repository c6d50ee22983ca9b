"""When a gradient tells what a function does: one rule for warning FF102 and whoever picks a gradient.

No torch: the warning judges numbers that were stored.
"""

from __future__ import annotations

AGREE = (0.75, 1.33)
"""How much of the function's own change over a step a gradient may predict and still count."""
CORRELATED = 0.9

AGREE_FINE = (0.5, 2.0)
FINE = 0.05
"""Half steps below this share of the radius are judged by the wider band only."""

CONTINUOUS, FOLLOWED = (0.9, 1.1), 0.95
"""Where a fine step's ratio and correlation are these, there is no jump and no step of its size."""
AGREE_KINKED, CORRELATED_KINKED = (0.75, 1.6), 0.6
"""What many small kinks may take off then over wide steps: 3×3 median filters reach 1.47 and 0.72 in three
norms; the note's ramp and smooth staircases, where their fine steps agree at all, 1.7 to 3.5."""


def disagreement(
    ratio: float, correlation: float | None, *, share: float, kinked: bool = False
) -> str | None:
    """What is wrong with a gradient, in words that follow "the gradient"; None where it agrees.

    ratio: the change that it predicts over the change that is seen, root mean squares over random pairs;
    correlation of the two, None where it is not known; share: half a step over the radius in question;
    kinked: a finer step there was `continuous`.
    """
    fine = share < FINE
    low, high = AGREE_FINE if fine else AGREE_KINKED if kinked else AGREE
    if not low <= ratio <= high:
        return f"is {ratio:.3g} times what the function does"
    least = CORRELATED_KINKED if kinked else CORRELATED
    if not fine and correlation is not None and correlation < least:
        return "hardly follows what the function does"
    return None


def continuous(ratio: float | None, correlation: float | None, *, share: float) -> bool:
    """Whether the gradient follows the function over this fine step, so that it has kinks at most: its share
    of kinks grows with the step, where a staircase's jumps weigh the more the finer the step is."""
    if share >= FINE or ratio is None or correlation is None:
        return False
    return CONTINUOUS[0] <= ratio <= CONTINUOUS[1] and correlation >= FOLLOWED
