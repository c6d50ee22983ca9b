"""Which traps a study asks for: each of its estimators, on each subject under our own maskers (FF205)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from falsefloor.study.study import StackSpec, Study
from falsefloor.study.units import Series, Unit
from falsefloor.worker.planning import asked_again

Place = tuple[str, str, str]
"""model, masker, norm"""


def traps(
    first: Mapping[Place, int], study: Study, series: Sequence[Series], *, own: Callable[[str, str], bool]
) -> list[Unit]:
    """One trap unit for each estimator at each subject's first judged input, where the study wants traps.

    One input is enough to test an estimator, and costs about as much as its estimate. own: whether a plugin
    of a kind is ours. A stranger's masker may place what is wrapped somewhere else than the trap expects, so
    only our own stacks are tested; estimators are, whoever wrote them. A repaired estimate is not: its
    gradient was chosen for the real subject.
    """
    if not study.trap:
        return []
    units = []
    for one in series:
        number = first.get((one.model.name, one.stack.name, one.norm))
        repaired = one.recovers is not None or one.estimator.gradient == "auto"
        if number is None or repaired or not _ours(one.stack, own):
            continue
        units.append(asked_again(one, study, (number, number + 1), "trap", params=one.params))
    return units


def _ours(stack: StackSpec, own: Callable[[str, str], bool]) -> bool:
    return all(own("masker", layer.use) for layer in stack.layers)


__all__ = ["traps"]
