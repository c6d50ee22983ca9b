"""An observe unit: what is stored of a subject at some inputs before any estimate is made there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from falsefloor.engine.context import generators
from falsefloor.engine.grey_level import grey_level
from falsefloor.engine.located import located_facts
from falsefloor.engine.room import less_room
from falsefloor.engine.session import Session
from falsefloor.engine.task import Task
from falsefloor.engine.tensors import pack_tensor
from falsefloor.store.records import ObservationResult
from falsefloor.subjects.observe import Observation, observe
from falsefloor.subjects.subject import ModelSubject


def observe_inputs(task: Task, session: Session) -> list[ObservationResult]:
    """Observe the inputs of a unit; those outside the domain are told apart and not looked at."""
    norm = task.spec["norm"]
    plain = None
    if task.spec["stack"]:
        plain = session.subject(task.spec["model"], task.spec["inputs"], [])
    inside = [n for n in task.numbers if task.prepared.facts["inside"][n]]
    found: dict[int, ObservationResult] = {
        n: ObservationResult(n, None, {"outside": True}) for n in task.numbers if n not in inside
    }
    if inside:
        chosen = torch.tensor([n - task.numbers.start for n in inside], device=task.inputs.device)
        inputs, labels = task.inputs[chosen], task.labels[chosen]
        seen = _look(task, session, plain, inputs, labels)
        grey = grey_level(task.prepared.facts["units"], task.prepared.facts["bounds"])
        for number, one, point in zip(inside, seen, inputs, strict=True):
            facts = dict(one.facts)
            agreement = facts.get("agreement")
            if task.prepared.facts["training"]:
                facts["training"] = True
            if grey is not None:
                facts["grey_level"] = grey
            label = int(task.labels[number - task.numbers.start])
            seed = task.spec["seed"]
            facts |= located_facts(task.subject, point, label, facts, norm=norm, seed=seed)
            arrays = {role: pack_tensor(tensor, _seen(facts, role)) for role, tensor in one.arrays.items()}
            arrays["input"] = pack_tensor(point, {"distance": 0.0})
            found[number] = ObservationResult(number, agreement, facts, arrays)
    return [found[n] for n in task.numbers]


def _look(
    task: Task, session: Session, plain: ModelSubject | None, inputs: Tensor, labels: Tensor
) -> list[Observation]:
    """`observe`, with smaller forwards on out-of-memory."""
    norm = task.spec["norm"]
    while True:
        seeds = generators(inputs, seed=task.spec["seed"], norm=f"observe {norm}")
        try:
            return observe(
                task.subject, plain, inputs, labels, norm=norm, generators=seeds, rows=session.rows
            )
        except Exception as error:
            if not less_room(session, error):
                raise


def _seen(facts: Mapping[str, Any], role: str) -> dict[str, Any]:
    described = facts.get(role)
    if not isinstance(described, Mapping):
        return {}
    return {key: described[key] for key in ("distance", "predicted") if key in described}


__all__ = ["observe_inputs"]
