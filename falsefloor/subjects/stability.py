"""Whether a subject answers the same question twice the same way, alone and in company."""

from __future__ import annotations

from torch import Tensor

from falsefloor.subjects.site import Site

REPEATS = 3


def stability(site: Site) -> list[dict[str, object]]:
    """Facts an input: ``repeats`` and ``batch``, each with the largest shift of a logit, relative to the
    largest logit, and whether the predicted class changed. An unfilled batch of one against the filled batch.
    """
    again = [site.guard.first(site.inputs)[0] for _ in range(REPEATS)]
    alone = site.guard.alone(site.inputs)
    facts: list[dict[str, object]] = []
    for i in range(len(site.inputs)):
        first = site.logits[i]
        repeats = [_shift(first, other[i]) for other in again]
        facts.append(
            {
                "repeats": {
                    "shift": max(shift for shift, _ in repeats),
                    "label": any(label for _, label in repeats),
                    "count": REPEATS,
                },
                "batch": dict(zip(("shift", "label"), _shift(first, alone[i]), strict=True)),
            }
        )
    return facts


def _shift(first: Tensor, other: Tensor) -> tuple[float, bool]:
    one, two = first.double(), other.double()
    if bool((one == two).all()):
        return 0.0, False
    scale = float(one.abs().max())
    shift = float((one - two).abs().max()) / scale if scale > 0 else float("inf")
    return (shift if shift == shift else float("inf")), bool(one.argmax() != two.argmax())


__all__ = ["REPEATS", "stability"]
