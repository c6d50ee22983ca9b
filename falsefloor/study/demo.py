"""The demo's study: the note's experiment on the embedded digits model, in one place.

Goodfellow 2018, "Gradient Masking Causes CLEVER to Overestimate Adversarial Perturbation Size": a staircase
at the input (§3, 8-bit quantisation), its ramp with finite slopes (Fig. 1), saturation (§4), finite types.
CLEVER runs once in the form published, in a ball of a fixed radius at which a cap is seen (50 batches of 20
points; the paper draws 500 of 1,024), and once in our own form, which finds the ball.
"""

from __future__ import annotations

from falsefloor.study.file import study_from
from falsefloor.study.study import Study

MASKERS = (
    "none",
    "staircase:c=255",
    # N·D·delta (samples × pixels × share of ramp) decides what sampling sees. At 0.2 some pixel is on a ramp
    # and the gradient explodes; at 1e-7 random points meet no ramp and the score is its cap. Directed points
    # do meet one: black pixels lie at the foot of a ramp.
    "ramp:c=255,delta=0.2",
    "ramp:c=255,delta=1e-7",
    "sigmoid:gain=1,at=logits",
    "sigmoid-staircase:c=255,gain=4000",
    "dtype:to=float16",
)
ESTIMATORS = (
    {"use": "clever", "label": "clever R=0.3", "radius": 0.3, "box": False, "directed": False},
    "clever",
    "finite-difference",
    "attack",
)
STORY = (
    "Five digits and one classifier, bare and behind six masks that change none of its answers.",
    "CLEVER estimates a lower bound (a floor): no adversarial input is nearer. R=0.3 is the published form,"
    " in a ball of that radius. The attack finds an upper bound (a ceiling): here is one.",
    "A floor above its ceiling is a false floor, and is refuted by the attack's own point.",
)


def demo_study(*, seed: int = 0) -> Study:
    """Five digits behind six maskers and behind none; about a minute on two cores."""
    return study_from(
        {
            "models": ["digits:mlp"],
            "inputs": "digits:0-4",
            "maskers": list(MASKERS),
            "estimators": list(ESTIMATORS),
            "norms": ["linf"],
            "seed": seed,
            "trap": True,
            "tag": "demo",
        }
    )
