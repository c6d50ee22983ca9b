"""The contract between falsefloor and everything that plugs into it, version 1.

A plugin imports this module and nothing else of the package, needs no base class, and is registered by an
entry point. Importing it costs nothing: torch is needed by type checkers only.

Words: a *subject* is a model composed with maskers, plus its domain; an *estimator* maps (subject, inputs,
norm) to a radius per input and says what it *claims* that radius to be. Shapes: N inputs, K classes,
``*input`` the shape of one input. Radii are distances in the input's own space and units.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    import logging

    import torch
    from torch import Tensor, nn

API_VERSION = 1

Norm = Literal["l1", "l2", "linf"]
Claim = Literal["lower_estimate", "lower_bound", "upper_bound"]
Severity = Literal["refuted", "suspect", "vacuous", "note", "error"]
NORMS: frozenset[Norm] = frozenset(("l1", "l2", "linf"))

Scalar = bool | int | float | str
T = TypeVar("T")


class Cancelled(Exception):  # noqa: N818  (it is a request, not an error)
    """Raised by `Context.progress` when the user cancelled; let it pass through."""


class NotApplicable(Exception):  # noqa: N818  (it is an answer, not an error)
    """Raised by a plugin of any kind to decline what it is given, in words: "needs a ReLU network".

    The estimates it was asked for are *skipped* with these words. An estimator that declines is asked again
    for each input alone, so that it may decline some of them. A check that declines has nothing to say there.
    """


def option(
    default: T,
    /,
    *,
    help: str,  # noqa: A002  (the field's name in every form and help text)
    ge: float | None = None,
    le: float | None = None,
    gt: float | None = None,
    choices: Sequence[Scalar] | None = None,
    quick: T | None = None,
    thorough: T | None = None,
) -> T:
    """A dataclass field that is a parameter: default, help and range, read by forms, files and `--help`.

    ``ge``, ``gt`` and ``le`` bound numbers (inclusive, exclusive, inclusive); NaN never passes. ``choices``
    lists the values a str may take where `Literal` cannot. The core validates on every path, so the class
    itself need not. ``quick`` and ``thorough`` are what stands for the default where a study asks for that
    effort: budgets, never what a number means.
    """
    metadata: dict[str, object] = {"help": help, "ge": ge, "gt": gt, "le": le}
    metadata |= {"choices": tuple(choices) if choices else None, "quick": quick, "thorough": thorough}
    field: T = dataclasses.field(default=default, metadata={"falsefloor": metadata})
    return field


@dataclasses.dataclass(frozen=True)
class Axes:
    """How a curve of an estimate is drawn: an estimator's ``axes`` maps a curve's name to one of these.

    x, y: what the sides are, with units. along: the name of the curve that holds the places along x; without
    one they are counted. log_x, log_y: logarithmic sides.
    """

    title: str
    x: str = ""
    y: str = ""
    along: str = ""
    log_x: bool = False
    log_y: bool = False


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What an estimator returns for N inputs.

    radius: (N,) input-space distances, never NaN or negative; inf from an ``upper_bound``: nothing found.
    evidence: (N,) each, numbers or words: facts that checks read (see the evidence names in docs/plugins).
    curves: (N, …) each: stored small (at most 4 kB an estimate), drawn.
    witness: (N, *input), required for an ``upper_bound``: the adversarial inputs. The core settles them.
    confidence: of a statistical claim, (N,) or one number for all: with what probability an input's claim is
    right, from 0 to 1, so 1 - alpha. Independent over inputs: reports multiply them.
    per_target: (N, K) radii to each class alone, NaN or inf where none is told; the smallest is the radius.
    """

    radius: Tensor
    evidence: Mapping[str, Tensor | Sequence[str]] = dataclasses.field(default_factory=dict)
    curves: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)
    witness: Tensor | None = None
    confidence: Tensor | float | None = None
    per_target: Tensor | None = None


class Context(Protocol):
    """What the core hands to a running estimator."""

    @property
    def generators(self) -> Sequence[torch.Generator]:
        """One an input, on the CPU: the only source of randomness allowed."""
        ...

    @property
    def rows(self) -> int:
        """How many points one forward may take; halved on out-of-memory."""
        ...

    def progress(self, done: int, total: int, /, **series: Tensor) -> None:
        """Report progress; series are (N,) each, "radius" is the number that moves. Raises `Cancelled`."""
        ...

    def warn(self, code: str, message: str, *, inputs: Tensor | None = None) -> None:
        """Attach a note or suspicion to the estimates; ``inputs`` is an (N,) boolean mask, None for all."""
        ...

    @property
    def logger(self) -> logging.Logger:
        """For what an author wants to read afterwards: it goes to the run's worker.log, never to stdout."""
        ...


class Subject(Protocol):
    """What is judged: an `nn.Module` in eval mode with frozen parameters, whose queries are counted.

    Calling it maps (N, *input) to logits (N, K). Where no gradient path leads from logits to inputs, backward
    yields zeros and never an exception.
    """

    @property
    def module(self) -> nn.Module:
        """The model itself, or, with maskers, its composition: children ``input`` and ``logits``, an
        `nn.Sequential` of what each masker there made of an Identity, and ``model``, the model with what was
        wrapped in it; ``placed`` is a tuple of (masker, place), as the study names them."""
        ...

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        """The domain's lower and upper corner, each broadcastable to one input."""
        ...

    @property
    def classes(self) -> int: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def dtype(self) -> torch.dtype: ...
    def __call__(self, inputs: Tensor, /) -> Tensor: ...


class Estimator(Protocol):
    """A frozen dataclass: its fields are its parameters, each with a default (see `option`).

    May offer ``describe_subject() -> str``, in words, where its claims are about another function than the
    subject; ``memory``, how many times the memory of a plain forward one of its rows needs; ``columns``,
    evidence name to heading; ``axes``, curve name to `Axes`. Any plugin may offer ``files() ->
    Iterable[str]``: paths whose content belongs to its identity.
    """

    api_version: ClassVar[int]
    claim: ClassVar[Claim]
    norms: ClassVar[frozenset[Norm]]

    def __call__(
        self, subject: Subject, inputs: Tensor, labels: Tensor, /, *, norm: Norm, context: Context
    ) -> Estimate:
        """Radii for inputs (N, *input) with labels (N,), all classified correctly and inside the bounds."""
        ...


class Masker(Protocol):
    """A frozen dataclass that gets a deep copy of the part at its place and returns it wrapped.

    At ``input`` and ``logits`` the part is an `nn.Identity`. May offer ``displacement() -> float | None``,
    the supremum of |h(t) - t| where the masker is an elementwise map h; and ``calibrate(inputs, context) ->
    Masker`` where it learns from a study's inputs (N, *input), those inside the domain: what that returns is
    placed instead, and the state of the module it makes of an Identity belongs to the identity.
    """

    api_version: ClassVar[int]

    def __call__(self, part: nn.Module, /) -> nn.Module: ...


class GradientSource(Protocol):
    """Same forward, another backward: returns a function of (N, *input) to logits (N, K)."""

    api_version: ClassVar[int]

    def __call__(self, subject: Subject, /) -> Callable[[Tensor], Tensor]: ...


@dataclasses.dataclass(frozen=True)
class LoadedModel:
    """A model as its source describes it.

    module: (N, *input_shape) to logits (N, classes). bounds: the domain of every coordinate, numbers or
    tensors broadcastable to one input. units: what one unit of input is, in words ("pixel, 0 to 1").
    scale, step, immutable: for each feature, what counts as a distance of 1, the grid of its values (0 for
    none), and the numbers of those that may not change.
    inputs: the reference of the inputs to use when none are named. files: source files that were read and
    belong to the model's identity. output: which of several values the module returns are its logits, by name
    or number. at: the name of the submodule whose input is moved instead of the model's; bounds, scale, step
    and immutable are then of the values there, and infinite bounds reach as far as these are seen.
    multilabel: the logits are of labels, each present or not, and not of exclusive classes.
    """

    module: nn.Module
    classes: int
    input_shape: tuple[int, ...]
    bounds: tuple[float | Tensor, float | Tensor] = (0.0, 1.0)
    units: str = ""
    inputs: str | None = None
    files: tuple[str, ...] = ()
    output: str | int | None = None
    scale: Any = None
    step: Any = None
    immutable: Any = None
    at: str | None = None
    multilabel: bool = False


@dataclasses.dataclass(frozen=True)
class LabelledInputs:
    """inputs: (N, *input); labels: (N,) integers, or None to take the model's own answers; names: N words."""

    inputs: Tensor
    labels: Tensor | None = None
    names: Sequence[str] = ()


class ModelSource(Protocol):
    """Resolves what follows the scheme in "scheme:ref", e.g. "mlp" in "digits:mlp"."""

    api_version: ClassVar[int]

    def __call__(self, ref: str, /) -> LoadedModel: ...


class InputSource(Protocol):
    """Resolves what follows the scheme, e.g. "0-9" in "digits:0-9", for a given model."""

    api_version: ClassVar[int]

    def __call__(self, ref: str, model: LoadedModel, /) -> LabelledInputs: ...


@dataclasses.dataclass(frozen=True)
class CodeInfo:
    """One row of the catalogue of warnings: what `falsefloor explain CODE` prints.

    page: more of it, plain text in paragraphs; markup is shown as it is written.
    """

    name: str
    severity: Severity
    summary: str
    cure: str
    source: str
    page: str = ""


@dataclasses.dataclass(frozen=True)
class Record:
    """One stored estimate of one input: plain numbers and words."""

    estimator: str
    claim: Claim
    gradient: str
    radius: float
    evidence: Mapping[str, float | str] = dataclasses.field(default_factory=dict)
    curves: Mapping[str, Sequence[float]] = dataclasses.field(default_factory=dict)
    witness: str | None = None
    """Name of a stored array; set only where the core settled the witness."""


@dataclasses.dataclass(frozen=True)
class Facts:
    """All that a check may look at: one judged estimate, its siblings on the same subject, norm and input,
    and what was observed of the subject there."""

    norm: Norm
    judged: Record
    others: Sequence[Record]
    observed: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Finding:
    """What a check found; users read "warning". ``witness`` names a stored array that contradicts it."""

    code: str
    severity: Severity
    message: str
    evidence: Mapping[str, float | str] = dataclasses.field(default_factory=dict)
    witness: str | None = None


@runtime_checkable
class Check(Protocol):
    """Turns stored facts into findings. No torch, no files, no clock: same facts, same findings."""

    api_version: ClassVar[int]
    codes: ClassVar[Mapping[str, CodeInfo]]

    def __call__(self, facts: Facts, /) -> Iterable[Finding]: ...


__all__ = [
    "API_VERSION",
    "NORMS",
    "Axes",
    "Cancelled",
    "Check",
    "Claim",
    "CodeInfo",
    "Context",
    "Estimate",
    "Estimator",
    "Facts",
    "Finding",
    "GradientSource",
    "InputSource",
    "LabelledInputs",
    "LoadedModel",
    "Masker",
    "ModelSource",
    "Norm",
    "NotApplicable",
    "Record",
    "Scalar",
    "Severity",
    "Subject",
    "option",
]
