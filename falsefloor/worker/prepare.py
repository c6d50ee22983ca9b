"""Before a run computes: models loaded and compared with what is stored, other runs' results taken over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from falsefloor.errors import FalsefloorError, StudyError, UsageError
from falsefloor.store.records import UnitResult
from falsefloor.store.reuse import Stored
from falsefloor.store.writer import RunWriter
from falsefloor.study.study import Study
from falsefloor.study.units import Series, Unit, changes, fingerprint, kind_of, model_json, named, stack_json
from falsefloor.worker.executor import Executor, Stopped

TOGETHER = 100
"""Units taken over in one transaction."""


class ChangedError(StudyError):
    """A model, its inputs or a plugin are not what the run was started with."""


def prepare(
    writer: RunWriter, study: Study, series: Sequence[Series], executor: Executor, *, stopped: Stopped
) -> dict[str, Mapping[str, Any]]:
    """Load every model; what was found of each, and its `pace`. One that does not load fails its units alone.

    Raises `FalsefloorError` with the reason where none can be loaded, `ChangedError` where one is not what
    the run was started with, `StoppedError` where the user cancelled meanwhile.
    """
    loaded: dict[str, Mapping[str, Any]] = {}
    failures: dict[str, Mapping[str, Any]] = {}
    for model in study.models:
        stacks = {one.stack.name: stack_json(one.stack) for one in series if one.model.name == model.name}
        parts = [*stacks.values(), *_plugins(series, model.name)]
        answer = executor.prepare(model_json(model), study.inputs, parts, stopped=stopped)
        if "error" in answer:
            failures[model.name] = answer
            continue
        before, facts = writer.fingerprints().get(model.name), answer["facts"]
        if before is not None and before != answer["fingerprint"]:
            changed = ", ".join(changes(before, answer["fingerprint"]))
            raise ChangedError(
                f"{model.name} is not what this run was started with: {changed} changed. {_ADVICE}"
            )
        writer.add_model(model.name, spec=model_json(model), facts=facts, fingerprint=answer["fingerprint"])
        versions = dict(writer.meta().get("versions", {})) | answer["versions"]
        writer.set_meta(device=answer["device"], threads=answer["threads"], versions=versions)
        if facts["training"]:
            writer.event("note", f"FF603: {model.name} came in training mode; it is judged in eval mode.")
        for said in facts["said"]:
            writer.event("note", f"{model.name}: {said}.")
        loaded[model.name] = {**facts, "pace": answer.get("pace")}
    if failures and not loaded:
        first = next(iter(failures.values()))
        code = int(first["exit_code"])
        kind = UsageError if code == UsageError.exit_code else FalsefloorError
        error = kind(str(first["error"]))
        error.exit_code = code
        raise error
    for name, failed in failures.items():
        status = "skipped" if failed.get("declined") else "failed"
        writer.event(status, f"{name}: {failed['error']}")
        if status == "failed":
            writer.set_meta(exit_code=failed["exit_code"], error=f"{name}: {failed['error']}")
        _without(writer, study, series, name, UnitResult("", status, str(failed["error"])))
    return loaded


def _plugins(series: Sequence[Series], model: str) -> list[dict[str, Any]]:
    """The estimators and gradient sources of a model's cells, each once: they may name files."""
    found: dict[str, dict[str, Any]] = {}
    for one in series:
        if one.model.name == model:
            for kind, use, params in (
                ("estimator", one.estimator.use, dict(one.params)),
                ("gradient", one.estimator.gradient, {}),
            ):
                found[named(kind, use, params)] = {"kind": kind, "use": use, "params": params}
    return list(found.values())


def _without(
    writer: RunWriter, study: Study, series: Sequence[Series], model: str, result: UnitResult
) -> None:
    """One unit a cell with what became of the model, so that the table, the JSON and `resume` all know."""
    writer.add_series(series)
    mine = [one for one in series if one.model.name == model]
    writer.add_units(
        Unit("estimate", one.model, one.stack, one.norm, study.inputs, (0, 1), study.seed, series=one)
        for one in mine
    )
    for id_, spec in writer.queued():
        if spec["model"] == model_json(mine[0].model):
            writer.store(id_, result)


def check_stored(writer: RunWriter) -> None:
    """Raises `ChangedError` where a stored unit was made by another version of a plugin."""
    models = writer.fingerprints()
    for model, spec, stored in writer.fingerprinted():
        if model in models and fingerprint(spec, models[model]) != stored:
            name = spec.get("estimator", {}).get("use", "observe")
            raise ChangedError(
                f"a plugin of {model} · {name} has another version than this run was started with. {_ADVICE}"
            )


def take_over(writer: RunWriter, stored: Stored) -> None:
    """Store what another run holds of the queued units, where key and fingerprint agree."""
    models = writer.fingerprints()
    same = [
        (unit, key)
        for unit, key, model, spec in writer.waiting()
        # what a trap or a resampling found is stored with the observation's facts
        if kind_of(spec) in ("observe", "estimate")
        and stored.fingerprint(key) == fingerprint(spec, models[model])
    ]
    for at in range(0, len(same), TOGETHER):
        writer.store_all([(unit, stored.result(key)) for unit, key in same[at : at + TOGETHER]])
    if same:
        writer.event("reused", f"{len(same)} units taken over, unchanged")


def tell_changed(writer: RunWriter, stored: Stored) -> None:
    """Say which models, files and plugins are not what they were in the run that units are taken from."""
    before = stored.models()
    for name, now in writer.fingerprints().items():
        if name in before and (parts := changes(before[name], now)):
            said = f"{name}: {', '.join(parts)} changed since that run; what depends on it is computed anew"
            writer.event("note", said)


_ADVICE = (
    "What is stored would not fit the rest; start a new run (falsefloor run … --reuse RUN keeps what is"
    " unchanged)."
)
