"""A finding's witness, evaluated again from the run directory: what a sceptic runs.

It is asked of a process of its own, so that no command ever loads torch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from falsefloor.engine.arrays import unpack_tensor
from falsefloor.engine.followups import planted_at
from falsefloor.engine.session import Session
from falsefloor.errors import FalsefloorError, StoreError, UsageError, did_you_mean
from falsefloor.jsonable import finite, revive
from falsefloor.numerics.balls import vector_norm
from falsefloor.numerics.margins import margins
from falsefloor.store.reader import RunReader, readable
from falsefloor.store.records import Array
from falsefloor.store.run_dir import RunDir
from falsefloor.study.units import PLUGINS, changes, named, plugins_of
from falsefloor.subjects.guarded import Guarded
from falsefloor.subjects.settle import settle
from falsefloor.subjects.subject import ModelSubject

SAME = 1e-6
"""Relative: a distance measured again is the same within this."""


def replay(reader: RunReader, name: str, *, session: Session | None = None) -> dict[str, Any]:
    """What the witness of the finding ``name`` (the beginning of its id) shows now.

    "replays" says whether it still contradicts the claim: a point of another class at the stored distance,
    alone and in a batch; a point at which the logits are not finite; or a pair between which the margin
    changes as much as was said. Raises `UsageError` for an unknown finding and one without a witness, and
    what loading the model raises.
    """
    with readable(reader.run_dir):
        finding, estimate, stored, spec = _stored(reader, name)
    known = session or Session()
    prepared = known.prepared(spec["model"], spec["inputs"])
    known.at = int(finding["input"])
    subject = known.subject(spec["model"], spec["inputs"], spec["stack"])
    at = int(finding["input"])
    x, label = prepared.inputs[at : at + 1], prepared.labels[at : at + 1]
    if finding["code"] == "FF205":
        trap = planted_at(known, spec, x, label)
        if trap is None:
            raise StoreError(
                "the trap cannot be planted again: the model or its inputs are not what they were."
            )
        subject = trap.subject
    witness = prepared.judged(unpack_tensor(stored).to(x))
    told: dict[str, Any] = {
        "finding": finding["id"],
        "code": finding["code"],
        "severity": finding["severity"],
        "model": estimate["model"],
        "masker": estimate["masker"],
        "norm": estimate["norm"],
        "estimator": estimate["name"],
        "input": at,
        "label": int(label),
        "claimed": estimate["radius"],
        "changed": _changed(reader, estimate["model"], known, spec),
    }
    evidence = revive(dict(finding["evidence"]))
    if witness.shape == x.shape[1:]:
        told |= _point(subject, x, label, witness, told, evidence, norm=spec["norm"])
    elif witness.shape == (2, *x.shape[1:]):
        named = revive(estimate["evidence"]).get("target")  # the class that the claim's margin is about
        target = int(named) if isinstance(named, int | float) and named == named else None
        told |= _pair(subject, label, witness, evidence, target, norm=spec["norm"])
    else:
        raise StoreError(f"the witness has the shape {tuple(witness.shape)}, the input {tuple(x.shape[1:])}.")
    return told


def _stored(reader: RunReader, name: str) -> tuple[dict[str, Any], dict[str, Any], Array, dict[str, Any]]:
    """The finding, the estimate it is about, the packed witness, and the unit's specification."""
    finding = _find(reader, name)
    estimate = next(reader.estimates(series=finding["series"], input=finding["input"]), None)
    if finding["witness"] is None:
        raise UsageError(
            f"{finding['code']} {finding['id']} has no witness to replay: {finding['message']}."
            " Refutations have one, and so have warnings about a pair of points."
        )
    stored = reader.array(finding["witness"]["array"])
    if stored is None:
        raise StoreError(
            f"the witness {finding['witness']['array']} is not in the run: its disk budget left it out, or it"
            " was removed. The same study with `--witnesses all` finds it again."
        )
    unit = next((one for one in reader.units() if estimate and one["key"] == estimate["unit"]), None)
    if estimate is None or unit is None:
        raise StoreError(f"the estimate that {finding['id']} is about is not in the run.")
    return finding, estimate, stored, json.loads(unit["spec"])


def _find(reader: RunReader, name: str) -> dict[str, Any]:
    found = list(reader.findings())
    matches = [f for f in found if f["id"].startswith(name)]
    # a code stands for the gravest finding of that kind that has something to replay
    matches = matches or [f for f in found if f["code"] == name.upper() and f["witness"] is not None][:1]
    if len(matches) == 1:
        return matches[0]
    if matches and name:
        raise UsageError(f"{name!r} is the beginning of {len(matches)} findings; give more of it.")
    # those that can be replayed, worst first
    known = [f["id"] for f in found if f["witness"] is not None]
    raise UsageError(f"no finding {name!r} in this run. {did_you_mean(name, known)}")


def _changed(reader: RunReader, model: str, session: Session, spec: Mapping[str, Any]) -> list[str]:
    """What of the model, its inputs, and files and plugins is not what it was when the run was computed."""
    before = dict(reader.fingerprints().get(model, {}))
    for plugin in plugins_of(spec):
        with suppress(FalsefloorError):  # one that is gone since is not asked for its files
            session.identified(spec["model"], spec["inputs"], *plugin)
    now = session.fingerprint(spec["model"], spec["inputs"])
    # only this finding's plugins are made here
    ours = {**now.get(PLUGINS, {}), **{named(*plugin): {} for plugin in plugins_of(spec)}}
    before[PLUGINS] = {name: told for name, told in before.get(PLUGINS, {}).items() if name in ours}
    return changes(before, now)


def _point(
    subject: ModelSubject,
    x: Tensor,
    label: Tensor,
    witness: Tensor,
    told: Mapping[str, Any],
    evidence: Mapping[str, Any],
    *,
    norm: str,
) -> dict[str, Any]:
    point = witness.unsqueeze(0)
    distance = float(vector_norm(point.double() - x.double(), norm))
    logits, errors = Guarded(subject, rows=16).first(point)
    row: dict[str, Any] = {"kind": "point", "distance": distance}
    claimed = float(revive(told["claimed"]))
    within = distance < claimed * (1 + SAME)
    if told["code"] == "FF403":
        broken = not bool(logits.isfinite().all())
        return row | {"finite": not broken, "raised": errors[0], "replays": broken and within}
    found = settle(subject, x, label, point, norm=norm, rows=16)
    stands = bool(found.ok[0]) and float(found.moved[0]) == 0.0
    margin = margins(logits.double(), label)
    before = float(evidence.get("distance", evidence.get("planted", distance)))
    same = abs(distance - before) <= SAME * max(before, 1e-30)
    return row | {
        "stored_distance": before,
        "predicted": int(logits.argmax(1)),
        "margin": float(margin.min()),
        "replays": stands and same and within,
    }


def _pair(
    subject: ModelSubject,
    label: Tensor,
    witness: Tensor,
    evidence: Mapping[str, Any],
    target: int | None,
    *,
    norm: str,
) -> dict[str, Any]:
    logits = Guarded(subject, rows=16).first(witness)[0].double()
    distance = float(vector_norm(witness[:1].double() - witness[1:].double(), norm))
    each = margins(logits, label.expand(2))
    rival = int(each[0].argmin()) if target is None else target
    change = float((each[0, rival] - each[1, rival]).abs())
    slope = change / distance if distance > 0 else 0.0
    row = {"kind": "pair", "distance": distance, "margins": each[:, rival].tolist(), "slope": slope}
    constant = evidence.get("lipschitz")
    if isinstance(constant, float) and constant == constant:
        return row | {"lipschitz": constant, "replays": slope > constant}
    return row | {"replays": bool((logits[0] != logits[1]).any()) and change > 0}


def main(request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """In a process of its own: what became of a run's finding."""
    torch.set_num_threads(1)
    with RunReader(RunDir(Path(request["run"]))) as reader:
        cwd = Path(str(reader.meta().get("cwd", ".")))
        if cwd.is_dir():
            os.chdir(cwd)  # references to files are relative to where the run began
        yield finite(replay(reader, request["finding"]))
