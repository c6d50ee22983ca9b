"""What the evidence of every slope-based estimator says, and when a slope counts as vanished."""

from __future__ import annotations

VANISHED = 1e-3
"""A slope counts as vanished where, times the domain's diameter, it is at most this share of the margin."""

SHARED = (
    "target",
    "margin",
    "lipschitz",
    "slope",
    "sampling_radius",
    "cap",
    "capped",
    "gradient_norm_median",
    "gradient_norm_max",
    "zero_share",
    "vanished_share",
    "nonfinite_share",
    "distinct_maxima",
    "maximum",
    "maximum_half",
    "fit_shape",
    "interval_low",
    "interval_high",
    "targets_covered",
)
"""Numbers that both name; NaN where one does not apply."""
