"""A study: models × masker stacks × norms × estimators over some inputs, with one seed."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from falsefloor.api import NORMS, Norm, Scalar
from falsefloor.errors import UsageError, did_you_mean
from falsefloor.study.grammar import Spec, parse_spec, parse_stack, show_value

RECOVER = ("off", "suspect", "on")
Number = float | tuple[float, ...]


@dataclass(frozen=True)
class ModelSpec:
    """A model reference with its domain. ``mean`` and ``std`` are applied after the domain, per channel."""

    use: str
    label: str = ""
    bounds: tuple[float, float] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    @property
    def name(self) -> str:
        return self.label or self.use


@dataclass(frozen=True)
class Layer:
    """One masker at its place."""

    use: str
    at: str = "input"
    params: Mapping[str, Scalar] = field(default_factory=dict)

    def __str__(self) -> str:
        shown = dict(self.params) | ({} if self.at == "input" else {"at": self.at})
        return str(Spec(self.use, shown))


@dataclass(frozen=True)
class StackSpec:
    """Maskers from left to right in the direction of the data; empty is the bare model."""

    layers: tuple[Layer, ...] = ()
    label: str = ""

    @property
    def name(self) -> str:
        return self.label or "+".join(map(str, self.layers)) or "none"

    @staticmethod
    def parse(text: str, *, label: str = "") -> StackSpec:
        layers = []
        for spec in parse_stack(text):
            at = spec.params.get("at", "input")
            layers.append(Layer(spec.name, str(at), spec.without("at").params))
        return StackSpec(tuple(layers), label)


@dataclass(frozen=True)
class EstimatorSpec:
    """An estimator, its parameters as given, and where its gradients come from."""

    use: str
    params: Mapping[str, Scalar] = field(default_factory=dict)
    gradient: str = "autograd"
    label: str = ""

    @property
    def name(self) -> str:
        return self.label or str(self)

    def __str__(self) -> str:
        shown = dict(self.params) | ({} if self.gradient == "autograd" else {"gradient": self.gradient})
        return str(Spec(self.use, shown))

    @staticmethod
    def parse(text: str, *, label: str = "") -> EstimatorSpec:
        spec = parse_spec(text)
        gradient = str(spec.params.get("gradient", "autograd"))
        return EstimatorSpec(spec.name, spec.without("gradient").params, gradient, label)


DEFAULT_ESTIMATORS = tuple(EstimatorSpec(name) for name in ("clever", "finite-difference", "attack"))


@dataclass(frozen=True)
class Study:
    """Everything that decides the numbers, and how the run behaves. Nothing here has been looked up yet.

    chunk: inputs a unit; it belongs to the study and not to the machine, so that the same study gives the
    same units everywhere. time_limit: seconds a unit may take, 0 for none.
    """

    models: tuple[ModelSpec, ...]
    inputs: str = ""
    maskers: tuple[StackSpec, ...] = (StackSpec(),)
    estimators: tuple[EstimatorSpec, ...] = DEFAULT_ESTIMATORS
    norms: tuple[Norm, ...] = ("linf",)
    seed: int = 0
    chunk: int = 32
    device: str = "auto"
    recover: str = "suspect"
    ceiling: bool = True
    trap: bool = False
    time_limit: float = 0.0
    tag: str = ""

    def __post_init__(self) -> None:
        for what in ("models", "maskers", "estimators", "norms"):
            if not getattr(self, what):
                raise UsageError(f"a study needs at least one of {what}; none was given.", key=what)
        for norm in self.norms:
            if norm not in NORMS:
                raise UsageError(f"no norm {norm!r}. {did_you_mean(norm, NORMS)}", key="norms")
        if self.recover not in RECOVER:
            raise UsageError(f"recover is one of {', '.join(RECOVER)}; not {self.recover!r}.", key="recover")
        if self.chunk < 1:
            raise UsageError(
                f"chunk is how many inputs a unit takes, at least 1; not {self.chunk}.", key="chunk"
            )
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"seed is a whole number from 0 to 2^63 - 1; not {self.seed}.", key="seed")
        if not self.time_limit >= 0:
            raise UsageError(
                f"time_limit is seconds a unit may take, 0 for none; not {self.time_limit}.", key="time_limit"
            )
        _unique("model", "models", [model.name for model in self.models])
        _unique("masker stack", "maskers", [stack.name for stack in self.maskers])
        _unique("estimator", "estimators", [estimator.name for estimator in self.estimators])
        _unique("norm", "norms", list(self.norms))

    def to_json(self) -> dict[str, Any]:
        """The study as a study file's keys and values; `from_json` reads it back."""
        return {
            "seed": self.seed,
            "norms": list(self.norms),
            "models": [_sparse(model) for model in self.models],
            "inputs": self.inputs,
            "maskers": [
                {
                    "label": stack.label,
                    "stack": [{"use": y.use, "at": y.at, **y.params} for y in stack.layers],
                }
                for stack in self.maskers
            ],
            "estimators": [
                {"use": e.use, "label": e.label, "gradient": e.gradient, **e.params} for e in self.estimators
            ],
            "chunk": self.chunk,
            "device": self.device,
            "recover": self.recover,
            "ceiling": self.ceiling,
            "trap": self.trap,
            "time_limit": self.time_limit,
            "tag": self.tag,
        }

    def command(self) -> list[str]:
        """The `falsefloor run` command that does the same, as far as flags can say it."""
        words = ["falsefloor", "run"]
        for model in self.models:
            words += ["--model", model.use]
        for stack in self.maskers:
            words += ["--masker", "+".join(map(str, stack.layers)) or "none"]
        for estimator in self.estimators:
            words += ["--estimator", str(estimator)]
        if self.inputs:
            words += ["--inputs", self.inputs]
        for norm in self.norms:
            words += ["--norm", norm]
        words += ["--seed", str(self.seed)]
        for name in ("bounds", "mean", "std"):
            if value := getattr(self.models[0], name):
                words += [f"--{name}", ",".join(map(show_value, value))]
        for name in ("chunk", "device", "recover", "time_limit", "tag"):
            value = getattr(self, name)
            if value != _DEFAULTS[name]:
                words += [f"--{name.replace('_', '-')}", str(value)]
        return words + ([] if self.ceiling else ["--no-ceiling"]) + (["--trap"] if self.trap else [])

    def command_line(self) -> str:
        return shlex.join(self.command())


_DEFAULTS = {f.name: f.default for f in fields(Study)}


def _unique(what: str, key: str, names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"the {what} {name!r} is given twice; give one of them another label.", key=key)


def _sparse(model: ModelSpec) -> dict[str, Any]:
    named = {f.name: getattr(model, f.name) for f in fields(model)}
    return {k: list(v) if isinstance(v, tuple) else v for k, v in named.items() if v not in (None, "")}
