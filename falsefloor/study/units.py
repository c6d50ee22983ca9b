"""Units: the smallest pieces of work that are stored and resumed, and the keys that name them.

A unit is self-contained JSON: whoever holds it can compute it. Its *key* is a digest of all that decides its
result and can be known without loading anything; its *fingerprint* covers what answered: weights and buffers,
source files, inputs and labels, device kind and dtype, found when the model is loaded, and the versions of
the plugins involved. Stored results are used again only where both are equal.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from falsefloor.api import Scalar
from falsefloor.checks.verdicts import Place
from falsefloor.errors import UsageError
from falsefloor.plugins import Catalogue
from falsefloor.plugins.names import discover, resolve
from falsefloor.study.study import EstimatorSpec, ModelSpec, StackSpec, Study, plain

FORMAT = 1
"""Version of what a unit means; a change makes stored units of older versions another key."""

CEILING = EstimatorSpec("attack")
PLUGINS = "plugins"
"""The part of a model's fingerprint that is its plugins': by name, files and what a masker learnt."""
_SOURCES = ("model ", "input ")


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values, equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:20]


@dataclass(frozen=True)
class Series:
    """One cell of the comparison: a subject, a norm and an estimator, over all inputs.

    params are complete: defaults filled in. ``recovers`` is the label of the raw series that a repaired
    gradient was run for. ``asked``: False for the ceiling that a study gets unasked.
    """

    model: ModelSpec
    stack: StackSpec
    norm: str
    estimator: EstimatorSpec
    params: Mapping[str, Scalar]
    claim: str
    plugin: Mapping[str, str]
    recovers: str | None = None
    asked: bool = True

    @property
    def label(self) -> str:
        return self.estimator.name

    @property
    def place(self) -> Place:
        return Place(self.model.name, self.stack.name, self.norm, self.label)


@dataclass(frozen=True)
class Unit:
    """``kind``: observe, estimate or follow-up. ``inputs``: half-open range of input numbers."""

    kind: str
    model: ModelSpec
    stack: StackSpec
    norm: str
    refs: str
    inputs: tuple[int, int]
    seed: int
    series: Series | None = None
    extra: Mapping[str, Any] | None = None

    def spec(self) -> dict[str, Any]:
        """The self-contained description that a compute child gets."""
        spec: dict[str, Any] = {
            "format": FORMAT,
            "kind": self.kind,
            "model": model_json(self.model),
            "stack": stack_json(self.stack),
            "norm": self.norm,
            "inputs": self.refs,
            "chunk": list(self.inputs),
            "seed": self.seed,
        }
        if self.series is not None:
            spec["estimator"] = {
                "use": self.series.estimator.use,
                "params": dict(self.series.params),
                "gradient": self.series.estimator.gradient,
            }
            if self.series.recovers is not None:
                spec["recovers"] = self.series.recovers
        if self.extra:
            spec["extra"] = dict(self.extra)
        return spec

    @property
    def key(self) -> str:
        return digest(canonical(self.spec()))

    @property
    def cell(self) -> str:
        """The key without the chunk: names what is stored of an input, so that chunks change no name."""
        return digest(canonical({k: v for k, v in self.spec().items() if k != "chunk"}))


def kind_of(spec: Mapping[str, Any]) -> str:
    """What is computed: "observe", "estimate", or what a follow-up's ``extra`` names ("trap", "resample",
    "closer").

    Read off the description as it is stored, so that keys stay what they are and older runs resume. An
    estimate through a repaired gradient is an estimate.
    """
    return "observe" if spec["kind"] == "observe" else next(iter(spec.get("extra", ())), "estimate")


def estimator_of(spec: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """``use``, ``params`` and ``gradient`` of the estimator that a unit runs; None where it runs none."""
    found: Mapping[str, Any] | None = spec.get("estimator") or spec.get("extra", {}).get(kind_of(spec))
    return found


def model_json(model: ModelSpec) -> dict[str, Any]:
    """What decides the model: its label does not."""
    spec: dict[str, Any] = {"use": model.use}
    for name in ("bounds", "scale", "step", "immutable", "mean", "std"):
        if (value := getattr(model, name)) is not None:
            spec[name] = plain(value)
    for name in ("target", "output", "average", "at"):
        if value := getattr(model, name):
            spec[name] = value
    if model.multilabel == "yes":
        spec["multilabel"] = True
    return spec


def stack_json(stack: StackSpec) -> list[dict[str, Any]]:
    return [{"use": layer.use, "at": layer.at, "params": dict(layer.params)} for layer in stack.layers]


def is_masked(stack: Iterable[Mapping[str, Any]]) -> bool:
    """Whether anything of a stack, as `stack_json` writes it, stands between a model and its gradients."""
    return any(layer.get("use") != "none" for layer in stack)


def series_of(study: Study, catalogue: Catalogue) -> list[Series]:
    """All cells that are computed, in the order of the table: those of the study, and its ceiling's.

    A study without an upper bound of ours, which might refute nothing, gets `CEILING` beside what it asked
    for unless it says ``ceiling = false``: a stranger's search may find nothing. Raises `UsageError` and
    `PluginError`.
    """
    bounded = any(
        e.name == CEILING.name
        or (catalogue.claim(e.use) == "upper_bound" and catalogue.is_own("estimator", e.use))
        for e in study.estimators
    )
    added = () if bounded or not study.ceiling else (CEILING,)
    estimators = []
    for e in (*study.estimators, *added):
        params = catalogue.params("estimator", e.use, e.params, effort=study.effort)
        claim = claimed(catalogue.claim(e.use), e.gradient)
        estimators.append((e, params, claim, catalogue.origin(e.use)))
    for e in study.estimators:
        if e.gradient != "auto":
            catalogue.params("gradient", e.gradient, {})
    stacks = []
    for stack in study.maskers:
        known = [replace(y, params=catalogue.params("masker", y.use, y.params)) for y in stack.layers]
        stacks.append(StackSpec(tuple(known), stack.name))
    all_series = [
        Series(model, stack, norm, e, params, claim, origin, asked=e not in added)
        for model in study.models
        for norm in study.norms
        for stack in stacks
        for e, params, claim, origin in estimators
    ]
    seen: dict[str, Series] = {}
    for one in all_series:
        key = Unit("estimate", one.model, one.stack, one.norm, "", (0, 0), 0, series=one).key
        if (twin := seen.setdefault(key, one)) is not one:
            names = [(o.model.name, o.stack.name, o.label) for o in (twin, one)]
            raise UsageError(f"{names[0]} and {names[1]} are the same once defaults are filled in; drop one.")
    return all_series


def claimed(claim: str, gradient: str) -> str:
    """What an estimator's claim is worth through this gradient: a proof is of the subject's own function, so
    that with another backward behind it nothing is proven."""
    return "lower_estimate" if claim == "lower_bound" and gradient != "autograd" else claim


def plan(study: Study, series: Sequence[Series], counts: Mapping[str, int]) -> Iterator[Unit]:
    """Observe and estimate units in the order that fills the table from the top.

    counts: model label to number of inputs. Upper bounds come first within a subject, so that a floor is
    judged against its ceiling the moment it arrives.
    """
    for model, count in counts.items():
        for start in range(0, count, study.chunk):
            chunk = (start, min(start + study.chunk, count))
            last = None
            for one in sorted_series([s for s in series if s.model.name == model]):
                subject = (one.stack.name, one.norm)
                if subject != last:
                    yield Unit("observe", one.model, one.stack, one.norm, study.inputs, chunk, study.seed)
                    last = subject
                yield Unit(
                    "estimate", one.model, one.stack, one.norm, study.inputs, chunk, study.seed, series=one
                )


def sorted_series(series: Sequence[Series]) -> list[Series]:
    """Subjects in table order; within one, upper bounds first. Stable."""
    order: dict[tuple[str, str], int] = {}
    for one in series:
        order.setdefault((one.stack.name, one.norm), len(order))
    return sorted(series, key=lambda s: (order[s.stack.name, s.norm], s.claim != "upper_bound"))


def fingerprint(spec: Mapping[str, Any], model: Mapping[str, Any]) -> str:
    """Of a unit, from its spec and the fingerprint of its model and of the plugins beside it."""
    own = {name: told for name, told in model.items() if name != PLUGINS}
    known = model.get(PLUGINS, {})
    # what a trap or a resampling asks has other parameters, and is never taken over
    wanted = [named(*plugin) for plugin in plugins_of(spec) if plugin[0] == "masker" or "extra" not in spec]
    beside = {name: told for name, told in known.items() if name in wanted or name.startswith(_SOURCES)}
    return digest(canonical([own, plugin_versions(spec), *([beside] if beside else [])]))


def plugins_of(spec: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any]]]:
    """(kind, name, parameters) of every plugin that a unit runs, but for the sources of model and inputs."""
    wanted: list[tuple[str, str, Mapping[str, Any]]] = [
        ("masker", layer["use"], layer["params"]) for layer in spec["stack"]
    ]
    if (estimator := estimator_of(spec)) is not None:
        wanted.append(("estimator", estimator["use"], estimator["params"]))
        wanted.append(("gradient", estimator["gradient"], {}))
    return wanted


def plugin_versions(spec: Mapping[str, Any]) -> dict[str, str]:
    """Kind and name to distribution and version of every plugin that a unit runs."""
    return {f"{kind} {name}": _version(kind, name) for kind, name, _ in plugins_of(spec)}


def named(kind: str, use: str, params: Mapping[str, Any]) -> str:
    """A plugin with its parameters, as messages name it: "masker vq:codes=8"."""
    shown = ",".join(f"{name}={value}" for name, value in sorted(params.items()) if value != "")
    return f"{kind} {use}:{shown}" if shown else f"{kind} {use}"


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What of two fingerprints differs, in words: "weights", "the file codes.npz of masker vq:codes=8"."""
    plain = {*before, *now} - {PLUGINS}
    found = sorted(name for name in plain if before.get(name) != now.get(name))
    old, new = before.get(PLUGINS, {}), now.get(PLUGINS, {})
    for name in sorted({*old, *new}):
        was, is_ = old.get(name, {}), new.get(name, {})
        files, there = was.get("files", {}), is_.get("files", {})
        changed = sorted(path for path in {*files, *there} if files.get(path) != there.get(path))
        found += [f"the file {path} of {name}" for path in changed]
        if was.get("learnt") != is_.get("learnt"):
            found.append(f"what {name} learnt")
    return found


@cache
def _version(kind: str, name: str) -> str:
    plugin = resolve(discover(), kind, name)
    return f"{plugin.dist} {plugin.version}"
