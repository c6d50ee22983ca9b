"""Whether the working precision, not the function, gives the answer; and what the outputs look like.

Every function on a digital computer is a staircase (the note's §4). What float64 would answer, subnormal
gradients, saturated outputs and exact ties show where its steps are wide enough to matter.
"""

from __future__ import annotations

import torch
from torch import Tensor

from falsefloor.numerics.balls import dual, vector_norm
from falsefloor.subjects.double import in_double
from falsefloor.subjects.site import Site


def precision_ladder(site: Site) -> list[dict[str, object]]:
    """Facts an input: relative shifts of the runner-up's margin and of its gradient's norm in float64.

    ``reason`` instead, where the model cannot be run in
    float64. ``subnormal``: the share of gradient entries below the normal range.
    """
    here = site.slopes(site.inputs.unsqueeze(1), against=site.runner_up[:, None]).squeeze(1)
    tiny = torch.finfo(here.dtype).tiny
    flat = here.flatten(1)
    subnormal = ((flat != 0) & (flat.abs() < tiny)).double().mean(1)
    facts: list[dict[str, object]] = [{"subnormal": float(share)} for share in subnormal]
    if site.subject.dtype == torch.float64:
        return [fact | {"reason": "the model works in float64"} for fact in facts]
    try:
        wide = _in_double(site)
        margin = (wide.of_runner_up(wide.logits[:, None])).squeeze(1)
        slope = wide.slopes(wide.inputs.unsqueeze(1), against=site.runner_up[:, None]).squeeze(1)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        reason = f"the model does not run in float64 ({type(error).__name__}: {error})"[:300]
        return [fact | {"reason": reason} for fact in facts]
    before = site.of_runner_up(site.logits[:, None]).squeeze(1)
    moved = (margin - before).abs() / margin.abs()
    size, wide_size = (vector_norm(g.double(), dual(site.norm)) for g in (here, slope))
    turned = (size - wide_size).abs() / torch.maximum(size, wide_size)
    for i, fact in enumerate(facts):
        fact["margin_shift"] = _ratio(moved[i])
        fact["gradient_shift"] = _ratio(turned[i])
    return facts


def outputs(logits: Tensor) -> list[dict[str, object]]:
    """Facts an input about logits (N, M, K) at M points around it.

    probabilities: every row is non-negative and sums to one. saturated: the share of rows whose largest entry
    is exactly the same number as the largest of all rows, or is tied within the row.
    """
    found: list[dict[str, object]] = []
    for rows in logits.double():
        finite = rows[rows.isfinite().all(1)]
        if not len(finite):
            found.append({"low": None, "high": None, "probabilities": False, "saturated": 0.0})
            continue
        sums = bool(((finite.sum(1) - 1).abs() < 1e-4).all())
        top = finite.topk(2, dim=1).values
        # a constant function has one output everywhere and saturates nothing
        varies = bool((finite != finite[0]).any())
        stuck = (top[:, 0] == finite.max()) | (top[:, 0] == top[:, 1])
        share = float(stuck.double().mean()) if varies and len(finite) > 1 else 0.0
        found.append(
            {
                "low": float(finite.min()),
                "high": float(finite.max()),
                "probabilities": sums and float(finite.min()) >= 0,
                "saturated": share if float(stuck.sum()) > 1 else 0.0,
            }
        )
    return found


def _in_double(site: Site) -> Site:
    subject = in_double(site.subject)
    inputs = site.inputs.double()
    with torch.no_grad():
        logits = subject(inputs)
    return Site(
        subject=subject,
        inputs=inputs,
        labels=site.labels,
        logits=logits,
        norm=site.norm,
        generators=site.generators,
        rows=site.rows,
    )


def _ratio(value: Tensor) -> float:
    """NaN (zero over zero: nothing moved from nothing) as 0."""
    number = float(value)
    return number if number == number else 0.0


__all__ = ["outputs", "precision_ladder"]
