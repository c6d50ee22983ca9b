"""The demo's study: the note's experiment on the embedded digits model, in one place.

Goodfellow 2018, "Gradient Masking Causes CLEVER to Overestimate Adversarial Perturbation Size": a staircase
at the input (§3, 8-bit quantisation), its ramp with finite slopes (Fig. 1), saturation (§4), finite types.
CLEVER runs once with a fixed radius, so that a score at its cap is seen, and once finding its own.
"""

from __future__ import annotations

from falsefloor.study.file import study_from
from falsefloor.study.study import Study

MASKERS = (
    "none",
    "staircase:c=255",
    # N·D·delta (samples × pixels × share of ramp) decides what sampling sees: at 1e-7 no sample meets a ramp
    # and the score is its cap; at 0.2 one pixel on a ramp makes the gradient explode.
    "ramp:c=255,delta=0.2",
    "ramp:c=255,delta=1e-7",
    "sigmoid:gain=0.1,at=logits",
    "sigmoid-staircase:c=255,gain=4000",
    "dtype:to=float16",
)
ESTIMATORS = ("clever:radius=0.3", "clever", "finite-difference", "attack")


def demo_study(*, seed: int = 0) -> Study:
    """Five digits under seven maskers; under a minute on two cores."""
    return study_from(
        {
            "models": ["digits:mlp"],
            "inputs": "digits:0-4",
            "maskers": list(MASKERS),
            "estimators": list(ESTIMATORS),
            "norms": ["linf"],
            "seed": seed,
            "tag": "demo",
        }
    )


__all__ = ["demo_study"]
