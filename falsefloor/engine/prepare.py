"""A model with its inputs, made ready to be asked: loaded, checked, on the device, with a fingerprint."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from falsefloor.api import LabelledInputs, LoadedModel, NotApplicable
from falsefloor.engine.domain import domain_of, mixed_units
from falsefloor.engine.fitting import (
    as_it_takes,
    as_logits,
    as_points,
    coarsest,
    on_a_step,
    outside_said,
    rows_that_fit,
    within_rounding,
)
from falsefloor.errors import DomainError, UsageError
from falsefloor.models.labels import as_classes, disagreement
from falsefloor.plugins.loading import make
from falsefloor.study.grammar import split_ref
from falsefloor.subjects.compose import dressed
from falsefloor.subjects.copies import bare, check_initialised
from falsefloor.subjects.draws import Averaged
from falsefloor.subjects.fronts import Normalise, Scaled, Towards
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
    predicted: Tensor
    inside: Tensor
    rows: int
    resolution: torch.dtype | None
    facts: Mapping[str, Any]
    fingerprint: Mapping[str, Any]
    scale: Tensor | None = None
    grid: Tensor | None = None
    fixed: Tensor | None = None
    target: int | None = None

    @property
    def alone(self) -> bool:
        """Whether each input is judged by a subject of its own."""
        return self.fixed is not None or self.target is not None

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
        )


def load(model: Mapping[str, Any], inputs: str) -> tuple[LoadedModel, LabelledInputs]:
    """What a model's and its inputs' references name. Raises `UsageError` and what their sources raise."""
    scheme, ref = split_ref(model["use"])
    loaded: LoadedModel = make("model", scheme, {})(ref)
    named = inputs or loaded.inputs or ""
    if not named:
        raise UsageError(
            f"{model['use']} names no inputs of its own; say which: --inputs npz:FILE.npz, images:FOLDER …"
        )
    scheme, rest = split_ref(named)
    source: Any = make("input", scheme, {})
    return loaded, source(rest, loaded)


def prepare(
    loaded: LoadedModel,
    labelled: LabelledInputs,
    model: Mapping[str, Any],
    *,
    device: torch.device,
    most: int,
) -> Prepared:
    """Raises `DomainError` where model, inputs, labels and bounds do not fit each other.

    model: its declared bounds and preprocessing. most: rows a forward may take.
    """
    training = getattr(loaded.module, "training", False) and any(
        isinstance(m, _STATEFUL) for m in loaded.module.modules() if not isinstance(m, nn.Sequential)
    )
    check_initialised(loaded.module)
    module = bare(loaded.module).to(device)
    given = torch.as_tensor(labelled.inputs)
    if given.ndim < 2 or not given.numel():
        raise DomainError(f"inputs must be (N, *shape) with N at least 1; these are {tuple(given.shape)}.")
    domain = domain_of(loaded, model, tuple(given.shape[1:]))
    points = as_points(given, module).to(device)
    module, cast, whole = as_it_takes(module, points, given=given.dtype, before=_preprocessing(model))
    told = [*mixed_units(points.double().cpu(), domain.low, domain.high), *domain.said()]
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
    behind, found, said = as_logits(
        module, points, output=None if output is None else str(output), bounds=(lowest, highest)
    )
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
    said = [*outside_said(own, inside, domain.low, domain.high), *told, *said, *cast]
    rows, resolution = rows_that_fit(module, points[:1]), coarsest(module, points[:1])
    predicted = _predict(subject, points, min(most, rows))
    if grid is None:
        said = [*on_a_step(subject, points[inside], rows=min(most, rows)), *said]
    labels = predicted.clamp(min=0)
    if labelled.labels is not None:
        given = torch.as_tensor(labelled.labels).to(predicted.device)
        labels, read = as_classes(given, count=len(points), classes=subject.classes)
        wrong = disagreement(labels.tolist(), predicted.tolist(), subject.classes)
        said = [*filter(None, (wrong, read)), *said]
    target = int(model["target"]) if "target" in model else None
    if target is not None and target >= subject.classes:
        raise DomainError(
            f"target={target} is no class of this model; they run from 0 to {subject.classes - 1}."
        )
    if target is not None:
        said = [f"distances are to class {target} alone", *said]
    facts = {
        "count": len(points),
        "classes": subject.classes,
        "shape": list(points.shape[1:]),
        "units": loaded.units,
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
    if grid is not None or domain.fixed is not None:
        parts = (grid, domain.fixed)
        fingerprint["moves"] = _digest_tensors(*(part for part in parts if part is not None))
    return Prepared(
        module,
        subject.classes,
        bounds,
        points,
        labels,
        predicted,
        inside,
        rows,
        resolution,
        facts,
        fingerprint,
        None if scale is None else scale.to(device),
        grid,
        domain.fixed,
        target,
    )


def _preprocessing(model: Mapping[str, Any]) -> list[nn.Module]:
    if "mean" not in model and "std" not in model:
        return []
    mean, std = (torch.tensor(model.get(n, [default])) for n, default in (("mean", 0.0), ("std", 1.0)))
    if (std <= 0).any():
        raise UsageError(f"std must be positive; not {std.tolist()}.")
    return [Normalise(mean, std)]


def _predict(subject: ModelSubject, points: Tensor, rows: int) -> Tensor:
    """(N,) the class on top, -1 where the model raises or its logits are not finite.

    Raises `DomainError` where the model raises on every input.
    """
    logits, raised = Guarded(subject, rows=rows).first(points)
    if all(raised):
        raise DomainError(f"the model fails on inputs of shape {tuple(points.shape)}: {raised[0]}")
    return logits.argmax(1).masked_fill(~logits.isfinite().all(1), -1)


def digest_state(module: nn.Module) -> str:
    sha = hashlib.sha256()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # exported modules warn about their own state
        for name, tensor in sorted(module.state_dict().items()):
            sha.update(name.encode())
            if isinstance(tensor, Tensor):
                sha.update(_raw(tensor))
    return sha.hexdigest()[:20]


def _digest_tensors(*tensors: Tensor) -> str:
    sha = hashlib.sha256()
    for tensor in tensors:
        sha.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode() + _raw(tensor))
    return sha.hexdigest()[:20]


def _raw(tensor: Tensor) -> bytes:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return bytes(flat.view(torch.uint8).numpy()) if flat.numel() else b""


def digest_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:20]
