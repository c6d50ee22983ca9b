"""A study: models × masker stacks × norms × estimators over some inputs, with one seed."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from falsefloor.api import NORMS, Norm, Scalar, option
from falsefloor.errors import UsageError, did_you_mean
from falsefloor.options import Number, Option, numbers, settings
from falsefloor.study.grammar import Spec, parse_spec, parse_stack, show_option

MOST_DRAWS = 10_000


@dataclass(frozen=True)
class ModelSpec:
    """A model reference with its domain. ``mean`` and ``std`` are applied after the domain, per channel.

    bounds: two numbers, a pair for each feature or channel, or two files of NumPy arrays.
    """

    use: str
    label: str = ""
    bounds: tuple[Number, ...] | None = option(
        None, help="LO,HI; for each feature or channel LO:HI,LO:HI,…; or LO.npy,HI.npy."
    )
    mean: tuple[float, ...] | None = option(None, help="Per channel, subtracted before the model.")
    std: tuple[float, ...] | None = option(None, help="Per channel, divided by before the model.")
    output: str = option("", help="Which of several outputs are the logits: a name or a number.")
    target: str = option("", help="The only class to move to, by number; empty: any.")
    average: str = option(
        "", help="Judge the mean over so many draws of a model that answers at random; empty: as it answers."
    )
    at: str = option("", help="The submodule whose input, or behind an embedding output, is moved.")
    multilabel: Literal["no", "yes"] = option(
        "no", help="Whether logits are of labels, each present or not, and not of exclusive classes."
    )
    scale: tuple[Number, ...] | None = option(
        None, help="Per feature or channel, what counts as a distance of 1; or FILE.npy."
    )
    step: tuple[Number, ...] | None = option(
        None, help="Per feature or channel, the grid of discrete values, 0 for none; or FILE.npy."
    )
    immutable: tuple[Number, ...] | None = option(
        None, help="The numbers of features or channels that may not change; or FILE.npy, 1 where fixed."
    )

    def __post_init__(self) -> None:
        for key in ("output", "target", "average", "at"):
            # a number is written as such, and None by a form that was emptied
            value = getattr(self, key)
            if value is None or (isinstance(value, int) and not isinstance(value, bool)):
                object.__setattr__(self, key, "" if value is None else str(value))
        if self.average and not (self.average.isdigit() and 1 <= int(self.average) <= MOST_DRAWS):
            raise UsageError(
                f"average is a number of draws, 1 to {MOST_DRAWS}; not {self.average!r}.", key="average"
            )
        if self.target and not self.target.isdigit():
            raise UsageError(
                f"target is a class by its number, 0 or above; not {self.target!r}.", key="target"
            )
        several: object = self.multilabel
        if several is None or isinstance(several, bool):
            object.__setattr__(self, "multilabel", "yes" if several else "no")
        for one in DOMAIN:
            value = getattr(self, one.name)
            if value is not None:
                known = one.check(value, owner=self.name)
                object.__setattr__(
                    self, one.name, known if one.kinds == ("str",) or one.words else numbers(known) or None
                )
        if self.bounds is not None and not _is_box(self.bounds):
            raise UsageError(
                "bounds are two numbers, low then high; or LO:HI for each feature or channel, joined by"
                f" commas; or two files, LO.npy,HI.npy; not {self.bounds}.",
                key="bounds",
            )
        for key in ("scale", "step", "immutable", "mean", "std"):
            parts: tuple[Number, ...] = getattr(self, key) or ()
            alone = len(parts) == 1 and isinstance(parts[0], str) and key not in ("mean", "std")
            if not alone and not all(isinstance(part, float) for part in parts):
                files = "" if key in ("mean", "std") else ", or one file .npy"
                raise UsageError(f"{key} takes numbers joined by commas{files}; not {parts}.", key=key)
        if self.std is not None and not all(isinstance(part, float) and part > 0 for part in self.std):
            raise UsageError(f"std is divided by, so it is above 0; not {list(self.std)}.", key="std")

    @property
    def name(self) -> str:
        """How many draws it is the mean of, and the place that is judged where that is not the input: said
        wherever a number of it stands."""
        mean = f", mean of {self.average} draws" if self.average else ""
        place = f", at {self.at}" if self.at else ""
        return (self.label or self.use) + mean + place


DOMAIN = settings(ModelSpec)


def _is_box(bounds: tuple[Number, ...]) -> bool:
    """Whether these are two numbers, pairs, or two files, and low lies below high."""
    if all(isinstance(part, tuple) for part in bounds):
        pairs = [part for part in bounds if isinstance(part, tuple)]
        return all(low <= high for low, high in pairs) and any(low < high for low, high in pairs)
    if len(bounds) != 2 or isinstance(bounds[0], str) != isinstance(bounds[1], str):
        return False
    low, high = bounds
    return isinstance(low, str) or (isinstance(low, float) and isinstance(high, float) and low < high)


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
        return self.label or str(self)

    def __str__(self) -> str:
        return "+".join(map(str, self.layers)) or "none"

    @staticmethod
    def parse(text: str, *, label: str = "") -> StackSpec:
        layers = []
        for spec in parse_stack(text):
            at = spec.params.get("at", "input")
            layers.append(Layer(spec.name, str(at), spec.without("at").params))
        return StackSpec(tuple(layers), label).bare()

    def bare(self) -> StackSpec:
        """`none` alone is the bare model: one identity, however it was written."""
        is_bare = all(layer.use == "none" and not layer.params for layer in self.layers)
        return StackSpec((), self.label) if is_bare else self


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

    Fields made with `option` are settings: their key in a file, flag, field in the app, check and help all
    come from here. The chunk belongs to the study and not to the machine, so that the same study gives the
    same units everywhere.
    """

    models: tuple[ModelSpec, ...]
    inputs: str = option("", help="digits:0-9 (both ends included), npz:batch.npz; empty: the model's own.")
    maskers: tuple[StackSpec, ...] = (StackSpec(),)
    estimators: tuple[EstimatorSpec, ...] = DEFAULT_ESTIMATORS
    norms: tuple[Norm, ...] = ("linf",)
    seed: int = option(0, ge=0, le=2**63 - 1, help="The same seed gives the same numbers.")
    tag: str = option("", help="A word to find the run by.")
    recover: Literal["off", "suspect", "on"] = option(
        "suspect", help="Which floors are estimated again through a repaired gradient."
    )
    ceiling: bool = option(True, help="Add an attack where no upper bound is asked for.")
    trap: bool = option(False, help="Also try estimators on a planted class change.")
    effort: Literal["quick", "standard", "thorough"] = option(
        "standard", help="Budgets of what is not set: quick looks, thorough is the paper's and more."
    )
    chunk: int = option(32, ge=1, help="Inputs a unit of work; the same on every machine.")
    device: str = option("auto", help="auto, cpu, cuda:0, mps.")
    time_limit: float = option(0.0, ge=0, help="Seconds a unit may take; 0: as long as it shows life.")
    memory: str = option("", help="What a model's process may take, as 4GB or 512MB; empty: what is free.")
    witnesses: str = option(
        "", help="Disk for witnesses and other points, as 20GB, all or none; empty: half of what is free."
    )

    def __post_init__(self) -> None:
        for what in ("models", "maskers", "estimators", "norms"):
            if not getattr(self, what):
                raise UsageError(f"a study needs at least one of {what}; none was given.", key=what)
        for norm in self.norms:
            if norm not in NORMS:
                several = "Give each by itself, as --norm linf --norm l2. " if "," in norm else ""
                raise UsageError(f"no norm {norm!r}. {several}{did_you_mean(norm, NORMS)}", key="norms")
        for what in ("memory", "witnesses"):  # a number is one of gigabytes
            amount: object = getattr(self, what)
            if isinstance(amount, int | float) and not isinstance(amount, bool):
                object.__setattr__(self, what, f"{amount:g}GB")
        for one in SETTINGS:
            object.__setattr__(self, one.name, one.check(getattr(self, one.name), owner="a study"))
        _unique("model", "models", [model.name for model in self.models])
        _unique("masker stack", "maskers", [stack.name for stack in self.maskers])
        _unique("estimator", "estimators", [estimator.name for estimator in self.estimators])
        _unique("norm", "norms", list(self.norms))

    @property
    def memory_bytes(self) -> int:
        """`memory` in bytes; 0 where nothing is said. Raises `UsageError` for what is no amount."""
        return _bytes(self.memory, key="memory", least=10**6) if self.memory else 0

    @property
    def witness_bytes(self) -> float | None:
        """`witnesses` in bytes, inf for all; None where nothing is said. Raises `UsageError` as above."""
        words = {"": None, "all": math.inf, "none": 0.0}
        said = self.witnesses.strip()
        return words[said] if said in words else _bytes(said, key="witnesses", more=", all or none")

    def to_json(self) -> dict[str, Any]:
        """The study as a study file's keys and values; `study_from` reads it back."""
        return {
            **{one.name: getattr(self, one.name) for one in SETTINGS},
            "norms": list(self.norms),
            "models": [_sparse(model) for model in self.models],
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
        }

    def command(self) -> list[str]:
        """The `falsefloor run` command that does the same, as far as flags can say it."""
        models = (model.use for model in self.models)
        lists = {"model": models, "masker": self.maskers, "estimator": self.estimators, "norm": self.norms}
        words = ["falsefloor", "run"]
        for name, given in lists.items():
            words += [word for one in given for word in (f"--{name}", str(one))]
        for one in SETTINGS:
            words += _flag(one, getattr(self, one.name))
        for one in DOMAIN:
            words += _flag(one, self.domain(one) or one.default)
        return words

    def domain(self, one: Option) -> str | None:
        """What an option of `DOMAIN` is for every model, as its text; None where they differ."""
        found = {str(one.check(getattr(model, one.name) or "", owner="")) for model in self.models}
        return found.pop() if len(found) == 1 else None

    def command_line(self) -> str:
        return shlex.join(self.command())


SETTINGS = settings(Study)


def _flag(one: Option, value: Scalar) -> list[str]:
    """The words that set an option; none for its default."""
    name = one.name.replace("_", "-")
    if value == one.default:
        return []
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    return [f"--{name}", show_option(one, value)]


def _bytes(text: str, *, key: str, least: int = 0, more: str = "") -> int:
    found = re.fullmatch(r"(\d+(?:\.\d*)?) *([kKmMgGtT]?)[iI]?[bB]?", text.strip())
    amount = float(found[1]) * 1000 ** ("kmgt".index((found[2] or "g").lower()) + 1) if found else -1.0
    if amount < least:
        raise UsageError(f"{key} is an amount such as 4GB or 512MB{more}; not {text!r}.", key=key)
    return int(amount)


def _unique(what: str, key: str, names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"the {what} {name!r} is given twice; give one of them another label.", key=key)


def _sparse(model: ModelSpec) -> dict[str, Any]:
    named = {f.name: getattr(model, f.name) for f in fields(model)}
    usual = {f.name: f.default for f in fields(model)}
    return {k: plain(v) for k, v in named.items() if v not in (None, "", usual[k])}


def plain(value: Any) -> Any:
    """Tuples as lists, as JSON and TOML have them."""
    return [plain(part) for part in value] if isinstance(value, tuple) else value
