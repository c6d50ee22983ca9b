"""What is believed of an estimate before anything is stored: plugins are not taken at their word.

A batched estimator spends more on some inputs than on others. The mean of a chunk would make an input's
stored cost depend on its neighbours, so an estimator may say itself whom it asked for; its word counts only
where its sum is what the subject counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from falsefloor.api import Claim, Estimate
from falsefloor.engine.arrays import column, scalar
from falsefloor.errors import PluginError
from falsefloor.plugins.described import printable

SAME = 1e-4
"""Relative: the least of the radii to single classes is the radius, up to what rounding moves."""
MOST_NAMES = 200
"""Names of evidence, or curves, that an estimate may have; ours have 30 and 4."""
ACCOUNT = ("queries_forward", "queries_backward")
"""Evidence that is an account of queries, (N,) each; read here and not stored as evidence."""


def check_estimate(
    estimate: object, inputs: Tensor, kept: Tensor, labels: Tensor, *, claim: Claim, name: str
) -> None:
    """Raises `PluginError` where an estimate breaks the contract; ``kept`` is the inputs before the call."""

    def wrong(said: str) -> PluginError:
        return PluginError(f"{name} {said}")

    count = len(labels)
    if not isinstance(estimate, Estimate):
        raise wrong(f"returned {type(estimate).__name__}; an estimator returns falsefloor.api.Estimate.")
    radius = estimate.radius
    if not isinstance(radius, Tensor) or tuple(radius.shape) != (count,) or not radius.is_floating_point():
        got = f"{radius.dtype} {tuple(radius.shape)}" if isinstance(radius, Tensor) else type(radius).__name__
        raise wrong(f"returned radii {got}; expected one floating point number for each of {count}.")
    if radius.isnan().any():
        raise wrong("returned NaN as a radius; inf from an upper bound means that nothing was found.")
    if (radius < 0).any():
        raise wrong(f"returned the negative radius {float(radius.min()):g}.")
    if claim != "upper_bound" and radius.isinf().any():
        raise wrong("claims an infinite lower radius; return the radius it looked at as the cap.")
    if not torch.equal(inputs, kept):
        raise wrong("changed the inputs it was given; work on a copy.")
    for key, values in estimate.evidence.items():
        if not column(values, count):
            raise wrong(f"returned evidence {key!r} that is not one value for each of {count} inputs.")
    for key, values in estimate.curves.items():
        if not isinstance(values, Tensor) or len(values) != count:
            raise wrong(f"returned the curve {key!r} without one row for each of {count} inputs.")
    _besides(estimate, count, wrong)
    witness = estimate.witness
    if claim == "upper_bound" and witness is None:
        raise wrong("claims upper bounds without a witness; return the adversarial inputs.")
    if witness is not None and (not isinstance(witness, Tensor) or witness.shape != inputs.shape):
        had = str(tuple(witness.shape)) if isinstance(witness, Tensor) else type(witness).__name__
        raise wrong(f"returned a witness {had}; expected the inputs' shape {tuple(inputs.shape)}.")


def _besides(estimate: Estimate, count: int, wrong: Callable[[str], PluginError]) -> None:
    """The optional parts, and how much there is of the others. Raises ``wrong``."""
    sure = estimate.confidence
    if sure is not None:
        values = torch.as_tensor(sure, dtype=torch.float64).detach().reshape(-1)
        if len(values) not in (1, count) or not bool(((values >= 0) & (values <= 1)).all()):
            raise wrong(
                f"returned the confidence {values[:8].tolist()}; expected a probability from 0 to 1,"
                f" one for each of {count} inputs or one for all."
            )
    each = estimate.per_target
    if each is not None and (not isinstance(each, Tensor) or each.ndim != 2 or len(each) != count):
        had = str(tuple(each.shape)) if isinstance(each, Tensor) else type(each).__name__
        raise wrong(f"returned per_target {had}; expected ({count}, classes).")
    if isinstance(each, Tensor):
        least = torch.where(each.isnan(), torch.inf, each.detach().double()).amin(1)
        if bool((estimate.radius.detach().double().to(least) > least * (1 + SAME)).any()):
            raise wrong("returned a radius above its own radius to one class (per_target).")
    for what, values_of in (("evidence", estimate.evidence), ("curves", estimate.curves)):
        if len(values_of) > MOST_NAMES:
            raise wrong(f"returned {len(values_of)} {what}; at most {MOST_NAMES} are stored.")


def told_besides(estimator: object, estimate: Estimate, *, name: str) -> Estimate:
    """With what the optional members say as evidence and curves: `confidence`, `about`, `per_target`.

    Raises `PluginError` where `describe_subject` says nothing that can be shown.
    """
    count = len(estimate.radius)
    evidence, curves = dict(estimate.evidence), dict(estimate.curves)
    evidence.pop("about", None)  # what a claim is about is the estimator's to say, not an estimate's
    if estimate.confidence is not None:
        evidence["confidence"] = (
            torch.as_tensor(estimate.confidence, dtype=torch.float64).reshape(-1).expand(count)
        )
    if estimate.per_target is not None:
        curves["per_target"] = estimate.per_target
    if (words := described(estimator, name=name)) is not None:
        evidence["about"] = [words] * count
    return replace(estimate, evidence=evidence, curves=curves)


def described(estimator: object, *, name: str) -> str | None:
    """The other function that an estimator's claims are about, in words; None where it is the subject."""
    describe = getattr(estimator, "describe_subject", None)
    if not callable(describe):
        return None
    words = describe()
    if not isinstance(words, str) or not words.strip():
        raise PluginError(f"{name}.describe_subject() returned {words!r}; it returns words.")
    return printable(" ".join(words.split()), longest=200)


def rows_for(estimator: object, rows: int, *, name: str) -> int:
    """How many rows a forward may take where one of the estimator's takes ``memory`` times a plain one's."""
    times = getattr(estimator, "memory", 1.0)
    if isinstance(times, bool) or not isinstance(times, int | float) or not 0 < times < math.inf:
        raise PluginError(f"{name}.memory is {times!r}; expected a number above 0, such as 3.0.")
    return max(1, int(rows / max(1.0, times)))


def queries(estimate: Estimate, *, forward: int, backward: int, count: int) -> list[tuple[int, int]]:
    """(forward, backward) of each of ``count`` inputs, of the totals that the subject counted."""
    columns = []
    for name, total in zip(ACCOUNT, (forward, backward), strict=True):
        told = estimate.evidence.get(name)
        each = [] if told is None else [scalar(value) for value in told]
        whole = [int(n) for n in each if isinstance(n, float) and n >= 0 and n.is_integer()]
        columns.append(whole if len(whole) == count and sum(whole) == total else [total // count] * count)
    return list(zip(*columns, strict=True))
