"""Where inputs may go and what a distance is: bounds, units, grids and fixed features, as tensors.

Values for each feature are lists, tensors, arrays or `.npy` files; they are read as numbers of the first axis
of an input (the features of a table, the channels of a picture) or of all its coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from falsefloor.api import LoadedModel
from falsefloor.errors import DomainError
from falsefloor.models.refs import existing_file

UNEVEN = 30.0
"""Largest over smallest feature: a pixel's channels differ less, an age and a price more."""
PICTURES = ((0.0, 1.0), (0.0, 255.0), (-1.0, 1.0))
"""One range that all coordinates of a picture share."""


@dataclass(frozen=True)
class Domain:
    """Tensors that broadcast to one input, float64. scale: what counts as a distance of 1; step: the grid, 0
    where any value is possible; fixed: bool, features that may not change; None where there is none."""

    low: Tensor
    high: Tensor
    scale: Tensor | None = None
    step: Tensor | None = None
    fixed: Tensor | None = None
    files: tuple[str, ...] = ()

    def said(self) -> list[str]:
        """What a reader of distances is to know of it."""
        told = []
        if self.scale is not None:
            low, high = float(self.scale.min()), float(self.scale.max())
            told.append(
                f"distances are in units of scale, {low:g}"
                + (f" to {high:g} of the features' own" if low < high else " of the features' own")
            )
        if self.fixed is not None:
            told.append(f"{int(self.fixed.sum())} of {self.fixed.numel()} coordinates may not change")
        if self.step is not None:
            some = "" if bool((self.step > 0).all()) else "some "
            told.append(f"{some}coordinates are discrete: ceilings lie on their grid")
        return told


def domain_of(
    loaded: LoadedModel, model: Mapping[str, Any], shape: tuple[int, ...], *, seen: Tensor | None = None
) -> Domain:
    """What a study's ``model`` says, else what the model declares; infinite bounds reach as far beside the
    values ``seen`` as these are apart. Raises `DomainError`."""
    files: list[str] = []

    def asked(name: str) -> Any:
        value = model.get(name, getattr(loaded, name, None))
        # a study's file: the only one of a list
        return value[0] if isinstance(value, list) and value and isinstance(value[0], str) else value

    def read(name: str, value: Any = None) -> Tensor | None:
        value = asked(name) if value is None else value
        return None if value is None else per_feature(value, shape, what=name, files=files)

    bounds = model.get("bounds", loaded.bounds)
    if seen is not None and isinstance(bounds, tuple) and bounds == (-math.inf, math.inf):
        bounds = _beside(seen)
    low, high = (_whole(read("bounds", end), shape) for end in _corners(bounds))
    if not bool((high >= low).all()) or not bool((high > low).any()):
        raise DomainError(
            "the lowest value of the bounds must lie below the highest; these are"
            f" {_shown(low)} and {_shown(high)}."
        )
    scale, step = read("scale"), read("step")
    if scale is not None and not bool(((scale > 0) & scale.isfinite()).all()):
        raise DomainError(f"scale is what counts as a distance of 1, above 0; this is {_shown(scale)}.")
    if step is not None and not bool(((step >= 0) & step.isfinite()).all()):
        raise DomainError(f"step is the grid of discrete values, 0 for none; this is {_shown(step)}.")
    fixed = _fixed(asked("immutable"), shape, files)
    if fixed is not None and bool(fixed.all()):
        raise DomainError(
            "immutable names every feature, so that nothing may change; leave some of them out."
        )
    return Domain(
        low,
        high,
        _whole(scale, shape) if scale is not None else None,
        _whole(step, shape) if step is not None and bool((step > 0).any()) else None,
        fixed,
        tuple(files),
    )


def per_feature(value: Any, shape: tuple[int, ...], *, what: str, files: list[str]) -> Tensor:
    """(…) float64 that broadcasts to ``shape``. Raises `DomainError` that says what was seen and expected."""
    if isinstance(value, str) and value.endswith(".npy"):
        value, path = _loaded(value, what)
        files.append(str(path.resolve()))
    noun = f"{what} {'are' if what == 'bounds' else 'is'}"
    try:
        found = torch.as_tensor(value).detach().cpu().double()
    except (TypeError, ValueError, RuntimeError) as error:
        raise DomainError(f"{noun} {value!r:.80}, not numbers: {error}.") from error
    if bool(found.isnan().any()):
        raise DomainError(f"{noun} partly NaN; give a number for each feature.")
    if found.numel() == 1:
        return found.reshape(())
    if found.ndim == 1 and found.numel() == shape[0]:
        return found.reshape(-1, *([1] * (len(shape) - 1)))
    if found.ndim == 1 and found.numel() == math.prod(shape):
        return found.reshape(shape)
    if found.ndim <= len(shape) and all(
        mine in (1, its) for mine, its in zip(found.shape[::-1], shape[::-1], strict=False)
    ):
        return found
    if found.ndim == len(shape) + 1 and found.shape[0] == 1:
        return per_feature(found[0], shape, what=what, files=files)
    raise DomainError(
        f"{noun} {tuple(found.shape)} numbers; expected one for all, {shape[0]} (one for each feature or"
        f" channel) or as many as an input has, {shape}."
    )


def mixed_units(points: Tensor, low: Tensor, high: Tensor) -> list[str]:
    """That one range covers features (N, d) of different units, in words; nothing where that is not seen."""
    ends = float(low.reshape(-1)[0]), float(high.reshape(-1)[0])
    one = bool((low == ends[0]).all()) and bool((high == ends[1]).all())
    if points.ndim != 2 or points.shape[1] < 2 or not one or ends in PICTURES:
        return []
    largest = points.abs().amax(0)
    largest = largest[largest > 0]
    if not len(largest) or not bool(points.isfinite().all()):
        return []
    small, big = float(largest.min()), float(largest.max())
    if big <= UNEVEN * small:
        return []
    return [
        f"one range [{ends[0]:g}, {ends[1]:g}] covers features of different units (their largest values run"
        f" from {small:.3g} to {big:.3g}), and a distance in it means little; give each its own:"
        " bounds=(LOWS, HIGHS) in Python, --bounds LO:HI,LO:HI,… or --bounds LO.npy,HI.npy, and a scale"
    ]


def _beside(seen: Tensor) -> tuple[float, float]:
    low, high = float(seen.min()), float(seen.max())
    width = high - low or 1.0
    return low - width, high + width


def span_of(points: Tensor) -> float:
    """How far the feature of the smallest unit reaches: the least of the largest values, or of the spreads of
    four inputs or more, over features (N, d) that are not always 0."""
    reach = points.abs().amax(0)
    if len(points) >= 4:
        spread = points.amax(0) - points.amin(0)
        reach = torch.where(spread > 0, spread, reach)
    return float(reach[reach > 0].amin())


def _corners(bounds: Any) -> tuple[Any, Any]:
    """The lowest and the highest, of two values or of a study's pairs."""
    try:
        if isinstance(bounds, list) and bounds and all(isinstance(part, list) for part in bounds):
            return [part[0] for part in bounds], [part[1] for part in bounds]
        low, high = bounds
    except (TypeError, ValueError) as error:
        raise DomainError(
            "bounds are (lowest, highest): two numbers, or two lists or tensors with one for each feature;"
            f" these are {bounds!r:.200}."
        ) from error
    return low, high


def _fixed(value: Any, shape: tuple[int, ...], files: list[str]) -> Tensor | None:
    """Of the numbers of features, or of a mask."""
    if value is None or (isinstance(value, Sequence) and not value):
        return None
    if isinstance(value, str):
        mask = per_feature(value, shape, what="immutable", files=files) != 0
        return mask.expand(shape).clone()
    given = torch.as_tensor(value)
    if given.dtype == torch.bool:
        return (per_feature(given, shape, what="immutable", files=files) != 0).expand(shape).clone()
    numbers = given.double().reshape(-1)
    if not bool((numbers == numbers.long()).all()) or not bool(((numbers >= 0) & (numbers < shape[0])).all()):
        raise DomainError(
            f"immutable names features or channels by number, 0 to {shape[0] - 1}, or is a mask of true and"
            f" false; this is {value!r:.200}."
        )
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[numbers.long()] = True
    return mask


def _loaded(name: str, what: str) -> tuple[Any, Path]:
    path = existing_file(name, kind=f"NumPy array of the {what}", form=f"--{what} FILE.npy")
    try:
        found = np.load(path, allow_pickle=False)
        return np.asarray(found, dtype=np.float64), path
    except (OSError, ValueError, EOFError, TypeError) as error:
        raise DomainError(
            f"{path} cannot be read as one plain NumPy array of the {what}: {error}. Write it with"
            " numpy.save(FILE, array)."
        ) from error


def _whole(values: Tensor | None, shape: tuple[int, ...]) -> Tensor:
    assert values is not None
    return values.expand(shape).clone() if values.numel() > 1 else values


def _shown(values: Tensor) -> str:
    return (
        f"{float(values):g}" if values.numel() == 1 else f"{float(values.min()):g} to {float(values.max()):g}"
    )
