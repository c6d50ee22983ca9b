"""Facts of an unmasked subject as they are stored, and the one change that each test makes to them."""

from __future__ import annotations

import copy
from typing import Any

from falsefloor.api import Facts, Record

DISTANCE = 0.1
ARRAYS = {
    "counterexample": "U/0/counterexample",
    "nonfinite": "U/0/nonfinite",
    **{f"pair-{scale:g}": f"U/0/pair-{scale:g}" for scale in (0.4, 0.1, 0.025)},
}
GOOD_STEPS = [
    {"h": 0.01, "pairs": 16.0, "ratio": 1.0, "correlation": 1.0},
    {"h": 0.1, "pairs": 32.0, "ratio": 1.02, "correlation": 0.999},
    {"h": 0.5, "pairs": 32.0, "ratio": 0.97, "correlation": 0.99},
]
OBSERVED: dict[str, Any] = {
    "label": 3,
    "predicted": 3,
    "misclassified": False,
    "agreement": True,
    "classes": 10,
    "device": "cpu",
    "dtype": "float32",
    "diameter": 1.0,
    "margin": 8.0,
    "runner_up": 8,
    "connected": True,
    "repeats": {"shift": 0.0, "label": False, "count": 3},
    "batch": {"shift": 1e-7, "label": False},
    "outputs": {"low": -30.0, "high": 25.0, "probabilities": False, "saturated": 0.002},
    "precision": {"subnormal": 0.0, "margin_shift": 1e-8, "gradient_shift": 1e-8},
    "gradients": {
        "autograd": [
            {
                "radius": scale,
                "steps": GOOD_STEPS,
                "median": 80.0,
                "max": 100.0,
                "vanished": 0.0,
                "zero": 0.0,
                "nonfinite": 0.0,
            }
            for scale in (0.4, 0.1, 0.025)
        ]
    },
    "secants": [
        {
            "radius": scale,
            "ratios": {"8": 78.0, "2": 60.0},
            "target": 8,
            "ratio": 78.0,
            "distance": 0.6 * scale,
            "margins": [8.0, 3.0],
            "array": f"pair-{scale:g}",
        }
        for scale in (0.025, 0.1, 0.4)
    ],
    "counterexample": {"distance": DISTANCE, "predicted": 8, "moved": 0.0, "array": "counterexample"},
    "queries": {"forward": 2684, "backward": 490},
    "arrays": ARRAYS,
}
EVIDENCE: dict[str, float | str] = {
    "lipschitz": 85.0,
    "slope": 82.0,
    "sampling_radius": 0.1,
    "cap": 1.0,
    "capped": 0.0,
    "gradient_norm_median": 80.0,
    "gradient_norm_max": 84.0,
    "zero_share": 0.0,
    "vanished_share": 0.0,
    "nonfinite_share": 0.0,
    "maximum": 82.0,
    "maximum_half": 81.5,
    "targets_covered": 9.0,
    "target": 8.0,
    "margin": 8.0,
    "fit": "weibull",
}


def estimate(radius: float = 0.095, **changes: Any) -> Record:
    """A sound lower estimate; keywords that name fields of a Record set them, others its evidence."""
    fields = {"estimator": "clever", "claim": "lower_estimate", "gradient": "autograd", "witness": None}
    given = {name: changes.pop(name, value) for name, value in fields.items()}
    return Record(radius=radius, evidence={**EVIDENCE, **changes}, **given)


def bare(radius: float, claim: str = "lower_estimate") -> Record:
    """What a third-party estimator that says nothing about itself returns."""
    return Record("theirs", claim, "autograd", radius)  # type: ignore[arg-type]


def attack(radius: float = 0.1005, witness: str | None = "A/0/witness", **evidence: float | str) -> Record:
    given = {"whitebox": 0.1005, "blackbox": 0.11, "last_tenth_gain": 0.001, **evidence}
    return Record("attack", "upper_bound", "autograd", radius, given, {}, witness)


def facts(judged: Record | None = None, *others: Record, **observed: Any) -> Facts:
    """Facts in which nothing is wrong but what is given; observed keywords replace whole facts."""
    known = {**copy.deepcopy(OBSERVED), **observed}
    return Facts("linf", judged or estimate(), others or (attack(),), known)


def more(radius: float, of: str = "clever", **changes: Any) -> dict[str, Any]:
    """What the estimator ``of`` said with four times its 1,000 samples in 64 dimensions."""
    first = {"times": 4, "samples": 1000, "dimension": 64, "sampling_radius": 0.1, "vanished_share": 0.0}
    return {of: {**first, "gradient_norm_max": 84.0, "radius": radius, **changes}}


def gradients(**changes: Any) -> dict[str, Any]:
    """The observed gradients with something changed at every scale."""
    rows = [{**row, **changes} for row in copy.deepcopy(OBSERVED["gradients"]["autograd"])]
    return {"autograd": rows}


def steps(h: float, **changes: Any) -> dict[str, Any]:
    """The observed gradients with one half step changed at every scale."""
    return gradients(steps=[{**row, **changes} if row["h"] == h else row for row in GOOD_STEPS])


def beyond(radius: float, changed: dict[str, Any]) -> dict[str, Any]:
    """The observed gradients, changed at scales above ``radius`` only."""
    pairs = zip(OBSERVED["gradients"]["autograd"], changed["autograd"], strict=True)
    return {"autograd": [copy.deepcopy(new if new["radius"] > radius else old) for old, new in pairs]}
