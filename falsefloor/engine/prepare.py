"""A model with its inputs, made ready to be asked: loaded, checked, on the device, with a fingerprint."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from falsefloor.api import LabelledInputs, LoadedModel, NotApplicable
from falsefloor.engine.domain import Domain, domain_of, mixed_units, span_of
from falsefloor.engine.fitting import (
    as_it_takes,
    as_labels,
    as_logits,
    as_points,
    coarsest,
    on_a_step,
    one_answer,
    outside_said,
    rows_that_fit,
    within_rounding,
)
from falsefloor.errors import DomainError, UsageError
from falsefloor.models.labels import as_classes, as_sets, disagreement
from falsefloor.models.refs import at_of
from falsefloor.plugins.loading import make
from falsefloor.study.grammar import split_ref
from falsefloor.subjects.compose import dressed
from falsefloor.subjects.copies import at_rest, check_initialised, settled
from falsefloor.subjects.draws import Averaged
from falsefloor.subjects.fronts import Changed, Normalise, Scaled, Shown, Towards, Within
from falsefloor.subjects.guarded import Guarded
from falsefloor.subjects.subject import ModelSubject

BELOW = 4.0
"""Times the largest logit at an input, so that a class that is no target never leads near it."""
_STATEFUL = (
    nn.modules.dropout._DropoutNd,
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
)


@dataclass(frozen=True)
class Prepared:
    """A model with its inputs on the device.

    inside: (N,) bool; labels: given, or the model's own answers; rows: how many one forward may take;
    resolution: the half precision that its logits went through, if any. inputs and bounds are in units of
    ``scale``, where there is one; grid, fixed: see `falsefloor.engine.domain.Domain`.
    """

    module: nn.Module
    classes: int
    bounds: tuple[float | Tensor, float | Tensor]
    inputs: Tensor
    labels: Tensor
    inside: Tensor
    rows: int
    resolution: torch.dtype | None
    facts: Mapping[str, Any]
    fingerprint: Mapping[str, Any]
    scale: Tensor | None = None
    grid: Tensor | None = None
    fixed: Tensor | None = None
    target: int | None = None
    shown: Shown | None = None
    span: float | None = None

    @property
    def alone(self) -> bool:
        """Whether each input is judged by a subject of its own."""
        return self.fixed is not None or self.target is not None or self.shown is not None

    def own(self, points: Tensor) -> Tensor:
        """Points of judged coordinates in the inputs' own units."""
        return points if self.scale is None else points * self.scale.to(points)

    def judged(self, points: Tensor) -> Tensor:
        """The inverse of `own`, in the inputs' number type."""
        points = points.to(self.inputs)
        return points if self.scale is None else points / self.scale

    def subject(self, module: nn.Module, *, at: int | None = None) -> ModelSubject:
        """What is judged of a module with maskers; in the domain of input ``at`` where features are fixed."""
        bounds: tuple[float | Tensor, float | Tensor] = self.bounds
        if at is not None and self.shown is not None:
            self.shown.at = at
        if at is not None and self.fixed is not None:
            fixed, here = self.fixed.to(self.inputs.device), self.inputs[at]
            low, high = (torch.as_tensor(end).to(here) for end in bounds)
            bounds = (torch.where(fixed, here, low), torch.where(fixed, here, high))
        if at is not None and self.target is not None:
            label = int(self.labels[at])
            if label == self.target:
                raise NotApplicable(f"the input is of class {label}, which is the target")
            plain = ModelSubject(module, classes=self.classes, dtype=self.inputs.dtype)
            with torch.no_grad():
                largest = float(plain(self.inputs[at : at + 1]).abs().max())
            module = nn.Sequential(module, Towards(label, self.target, BELOW * largest + 1.0))
        return ModelSubject(
            module,
            classes=self.classes,
            bounds=bounds,
            dtype=self.inputs.dtype,
            resolution=self.resolution,
            grid=self.grid,
            span=self.span,
        )


def load(model: Mapping[str, Any], inputs: str) -> tuple[LoadedModel, LabelledInputs]:
    """What a model's and its inputs' references name. Raises `UsageError` and what their sources raise."""
    scheme, ref = split_ref(model["use"])
    ref, place = at_of(ref)
    loaded: LoadedModel = make("model", scheme, {})(ref)
    if "multilabel" in model:
        loaded = replace(loaded, multilabel=True)
    named = inputs or loaded.inputs or ""
    if not named:
        raise UsageError(
            f"{model['use']} names no inputs of its own; say which: --inputs npz:FILE.npz, images:FOLDER …"
        )
    scheme, rest = split_ref(named)
    source: Any = make("input", scheme, {})
    labelled = source(rest, loaded)
    return loaded if place is None else _inside(loaded, place), labelled


def _inside(loaded: LoadedModel, place: str) -> LoadedModel:
    """The model judged at a place inside it; what it declares is of its input."""
    return replace(loaded, at=place, bounds=(-inf, inf), scale=None, step=None, immutable=None)


def prepare(
    loaded: LoadedModel,
    labelled: LabelledInputs,
    model: Mapping[str, Any],
    device: torch.device,
    *,
    most: int,
) -> Prepared:
    """Raises `DomainError` where model, inputs, labels and bounds do not fit each other.

    model: its declared bounds and preprocessing. most: rows a forward may take.
    """
    training = getattr(loaded.module, "training", False) and any(
        isinstance(m, _STATEFUL) for m in loaded.module.modules() if not isinstance(m, nn.Sequential)
    )
    check_initialised(loaded.module)
    plain, left_out = settled(loaded.module)
    module = at_rest(plain).to(device)  # before it is asked: in training mode that moves its statistics
    given = torch.as_tensor(labelled.inputs)
    if given.ndim < 2 or not given.numel():
        raise DomainError(f"inputs must be (N, *shape) with N at least 1; these are {tuple(given.shape)}.")
    points = as_points(given, module).to(device)
    module, cast, whole = as_it_takes(module, points, given=given.dtype, before=_preprocessing(model))
    loaded = _inside(loaded, model["at"]) if "at" in model else loaded
    shown = None
    if loaded.at is not None:
        one_answer(module, points)  # what fails at its input is told as that
        shown = Shown(inputs=points)
        module = within = Within(module, loaded.at, shown)
        points, whole = as_points(within.taken(points), module), False
    domain = domain_of(loaded, model, tuple(points.shape[1:]), seen=points if shown else None)
    if shown is not None:
        cast = [_moved(within, points, domain), *cast]
    mixed = [] if shown else mixed_units(points.double().cpu(), domain.low, domain.high)
    span = span_of(points.double()) if mixed and domain.scale is None else None
    told = [*mixed, *domain.said(), *left_out]
    low, high, scale, grid = domain.low, domain.high, domain.scale, domain.step
    if whole and grid is None:
        grid = torch.ones(())
    if scale is not None:
        module = dressed(module, before=[Scaled(scale, points.dtype)]).to(device)
        points = points.double() / scale.to(device)
        low, high, grid = low / scale, high / scale, None if grid is None else grid / scale
    bounds = (low, high)
    output = model.get("output", loaded.output)
    lowest, highest = ModelSubject(module, classes=0, bounds=bounds, dtype=points.dtype).bounds
    named, corners, truth = None if output is None else str(output), (lowest, highest), labelled.labels
    if loaded.multilabel:
        behind, found, level, several = as_labels(module, points, output=named, bounds=corners)
        module = dressed(module, after=behind).to(device)
        shown = shown or Shown()
        subject = ModelSubject(module, classes=found, bounds=bounds, dtype=points.dtype)
        if labelled.labels is None:
            shown.present = _answered(subject, points, most, shown) > level
        else:
            shown.present = as_sets(torch.as_tensor(labelled.labels), count=len(points), of=found).to(device)
        truth = torch.full((len(points),), found)
        behind, found, said = [Changed(shown, level)], found + 1, [several]
    else:
        behind, found, said = as_logits(module, points, output=named, bounds=corners)
    module = dressed(module, after=behind).to(device)
    draws = int(model.get("average", 0))
    if draws:
        module = Averaged(module, draws)
        said.append(f"judged is the mean of the logits over {draws} draws, the same ones at every point")
    # a declared number that differs is told when the model is asked
    classes = found if behind else loaded.classes or found
    subject = ModelSubject(module, classes=classes, bounds=bounds, dtype=points.dtype)
    points = within_rounding(points, lowest, highest)
    inside = ((points >= lowest) & (points <= highest) & points.isfinite()).flatten(1).all(1)
    own = points if scale is None else points * scale.to(device)
    said = [*outside_said(own, inside, domain.low, domain.high, whole=whole), *told, *said, *cast]
    rows, resolution = rows_that_fit(module, points[:1]), coarsest(module, points[:1])
    answers = _answered(subject, points, min(most, rows), shown)
    predicted = answers.argmax(1).masked_fill(~answers.isfinite().all(1), -1)
    if grid is None and shown is None:
        said = [*on_a_step(subject, points[inside], rows=min(most, rows)), *said]
    labels = predicted.clamp(min=0)
    if truth is not None:
        given = torch.as_tensor(truth).to(predicted.device)
        labels, read = as_classes(given, count=len(points), classes=subject.classes)
        wrong = disagreement(labels.tolist(), predicted.tolist(), subject.classes)
        if wrong and loaded.multilabel:
            right = int((predicted == labels).sum())
            wrong = f"{right} of {len(points)} inputs have just the labels that are given"
        said = [*filter(None, (wrong, read)), *said]
    target = int(model["target"]) if "target" in model else None
    if target is not None and target >= subject.classes:
        known = f"they run from 0 to {subject.classes - 1}"
        raise DomainError(f"target={target} is no class of this model; {known}.")
    if target is not None:
        said = [f"distances are to class {target} alone", *said]
    facts = {
        "count": len(points),
        "classes": subject.classes,
        "shape": list(points.shape[1:]),
        "units": loaded.units if shown is None or shown.inputs is None else f"values at {within.words}",
        "names": list(labelled.names) or [str(n) for n in range(len(points))],
        "labels": labels.tolist(),
        "labelled": labelled.labels is not None,
        "predicted": predicted.tolist(),
        "inside": inside.tolist(),
        "dtype": str(subject.dtype).removeprefix("torch."),
        "parameters": sum(p.numel() for p in module.parameters()),
        "bounds": [float(domain.low.min()), float(domain.high.max())],
        "training": training,
        "said": said,
    }
    fingerprint = {
        "weights": digest_state(module),
        "files": sorted([Path(f).name, digest_file(Path(f))] for f in (*loaded.files, *domain.files)),
        "inputs": _digest_tensors(points, labels),
        "bounds": _digest_tensors(lowest, highest),
        "dtype": str(subject.dtype),
        "device": device.type,
    }
    # what was stored before there was a choice stays what it was
    if output is not None:
        fingerprint["output"] = str(output)
    if shown is not None:
        shown.at = 0
        fingerprint["shown"] = _digest_tensors(shown.inputs, shown.present)
        fingerprint["at"] = loaded.at or ""
    if grid is not None or domain.fixed is not None:
        fingerprint["moves"] = _digest_tensors(grid, domain.fixed)
    return Prepared(
        module,
        subject.classes,
        bounds,
        points,
        labels,
        inside,
        rows,
        resolution,
        facts,
        fingerprint,
        None if scale is None else scale.to(device),
        grid,
        domain.fixed,
        target,
        shown,
        span,
    )


def _preprocessing(model: Mapping[str, Any]) -> list[nn.Module]:
    if "mean" not in model and "std" not in model:
        return []
    mean, std = (torch.tensor(model.get(n, [default])) for n, default in (("mean", 0.0), ("std", 1.0)))
    if (std <= 0).any():
        raise UsageError(f"std must be positive; not {std.tolist()}.")
    return [Normalise(mean, std)]


def _moved(within: Within, points: Tensor, domain: Domain) -> str:
    low, high = float(domain.low.min()), float(domain.high.max())
    return (
        f"moved is {within.words}, {tuple(points.shape[1:])} an input, and not the model's input:"
        f" distances are in that space, whose bounds are [{low:.4g}, {high:.4g}] where values run from"
        f" {float(points.min()):.4g} to {float(points.max()):.4g}; others are bounds=(LOW, HIGH) in Python,"
        " --bounds LOW,HIGH"
    )


def _answered(subject: ModelSubject, points: Tensor, rows: int, shown: Shown | None) -> Tensor:
    """(N, K) the logits of the inputs, NaN where the model raises.

    Raises `DomainError` where it raises on every input.
    """
    guard = Guarded(subject, rows=rows)
    parts: list[Tensor] = []
    raised: list[str | None] = []
    for at in range(1 if shown is None else len(points)):
        if shown is not None:
            shown.at = at
        logits, errors = guard.first(points if shown is None else points[at : at + 1])
        parts.append(logits)
        raised += errors
    if all(raised):
        raise DomainError(f"the model fails on inputs of shape {tuple(points.shape)}: {raised[0]}")
    return torch.cat(parts)


def digest_state(module: nn.Module) -> str:
    sha = hashlib.sha256()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # exported modules warn about their own state
        for name, tensor in sorted(module.state_dict().items()):
            sha.update(name.encode())
            if isinstance(tensor, Tensor):
                sha.update(_raw(tensor))
    return sha.hexdigest()[:20]


def _digest_tensors(*tensors: Tensor | None) -> str:
    sha = hashlib.sha256()
    for tensor in (one for one in tensors if one is not None):
        sha.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode() + _raw(tensor))
    return sha.hexdigest()[:20]


def _raw(tensor: Tensor) -> bytes:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return bytes(flat.view(torch.uint8).numpy()) if flat.numel() else b""


def digest_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:20]
