"""What is believed of an estimate before anything is stored: plugins are not taken at their word.

A batched estimator spends more on some inputs than on others. The mean of a chunk would make an input's
stored cost depend on its neighbours, so an estimator may say itself whom it asked for; its word counts only
where its sum is what the subject counted.
"""

from __future__ import annotations

import torch
from torch import Tensor

from falsefloor.api import Claim, Estimate
from falsefloor.engine.arrays import column, scalar
from falsefloor.errors import PluginError

ACCOUNT = ("queries_forward", "queries_backward")
"""Evidence that is an account of queries, (N,) each; read here and not stored as evidence."""


def check_estimate(
    estimate: object, inputs: Tensor, kept: Tensor, labels: Tensor, *, claim: Claim, name: str
) -> None:
    """Raises `PluginError` where an estimate breaks the contract; ``kept`` is the inputs before the call."""
    count = len(labels)
    if not isinstance(estimate, Estimate):
        raise PluginError(
            f"{name} returned {type(estimate).__name__}; an estimator returns falsefloor.api.Estimate."
        )
    radius = estimate.radius
    if not isinstance(radius, Tensor) or tuple(radius.shape) != (count,) or not radius.is_floating_point():
        got = f"{radius.dtype} {tuple(radius.shape)}" if isinstance(radius, Tensor) else type(radius).__name__
        raise PluginError(
            f"{name} returned radii {got}; expected one floating point number for each of {count}."
        )
    if radius.isnan().any():
        raise PluginError(
            f"{name} returned NaN as a radius; inf from an upper bound means that nothing was found."
        )
    if (radius < 0).any():
        raise PluginError(f"{name} returned the negative radius {float(radius.min()):g}.")
    if claim != "upper_bound" and radius.isinf().any():
        raise PluginError(
            f"{name} claims an infinite lower radius; return the radius it looked at as the cap."
        )
    if not torch.equal(inputs, kept):
        raise PluginError(f"{name} changed the inputs it was given; work on a copy.")
    for key, values in estimate.evidence.items():
        if not column(values, count):
            raise PluginError(
                f"{name} returned evidence {key!r} that is not one value for each of {count} inputs."
            )
    for key, values in estimate.curves.items():
        if not isinstance(values, Tensor) or len(values) != count:
            raise PluginError(
                f"{name} returned the curve {key!r} without one row for each of {count} inputs."
            )
    witness = estimate.witness
    if claim == "upper_bound" and witness is None:
        raise PluginError(f"{name} claims upper bounds without a witness; return the adversarial inputs.")
    if witness is not None and (not isinstance(witness, Tensor) or witness.shape != inputs.shape):
        had = str(tuple(witness.shape)) if isinstance(witness, Tensor) else type(witness).__name__
        raise PluginError(
            f"{name} returned a witness {had}; expected the inputs' shape {tuple(inputs.shape)}."
        )


def queries(estimate: Estimate, *, forward: int, backward: int, count: int) -> list[tuple[int, int]]:
    """(forward, backward) of each of ``count`` inputs, of the totals that the subject counted."""
    columns = []
    for name, total in zip(ACCOUNT, (forward, backward), strict=True):
        told = estimate.evidence.get(name)
        each = [] if told is None else [scalar(value) for value in told]
        whole = [int(n) for n in each if isinstance(n, float) and n >= 0 and n.is_integer()]
        columns.append(whole if len(whole) == count and sum(whole) == total else [total // count] * count)
    return list(zip(*columns, strict=True))
