"""Which traps a study asks for: each of its estimators, on each subject under our own maskers (FF205)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from falsefloor.study.study import StackSpec, Study
from falsefloor.study.units import Series, Unit

Chunk = tuple[str, str, str, int, int]
"""model, masker, norm, first, stop: what was observed"""


def traps(
    observed: Collection[Chunk], study: Study, series: Sequence[Series], *, own: Callable[[str, str], bool]
) -> list[Unit]:
    """One trap unit for each estimator and each chunk that was observed, where the study wants traps.

    own: whether a plugin of a kind is ours. A stranger's masker may place what is wrapped somewhere else than
    the trap expects, so only our own stacks are tested; estimators are, whoever wrote them. A repaired
    estimate is not: its gradient was chosen for the real subject.
    """
    if not study.trap:
        return []
    units = []
    for one in series:
        if one.recovers is not None or one.estimator.gradient == "auto" or not _ours(one.stack, own):
            continue
        asked = {
            "label": one.label,
            "use": one.estimator.use,
            "params": dict(one.params),
            "gradient": one.estimator.gradient,
        }
        place = (one.model.name, one.stack.name, one.norm)
        chunks = sorted((first, stop) for *where, first, stop in observed if tuple(where) == place)
        units += [
            Unit(
                "follow-up",
                one.model,
                one.stack,
                one.norm,
                study.inputs,
                chunk,
                study.seed,
                extra={"trap": asked},
            )
            for chunk in chunks
        ]
    return units


def _ours(stack: StackSpec, own: Callable[[str, str], bool]) -> bool:
    return all(own("masker", layer.use) for layer in stack.layers)


__all__ = ["traps"]
