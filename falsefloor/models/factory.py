"""What becomes of a module that somebody's factory made: what it declares, and weights from a file in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from falsefloor.api import LoadedModel
from falsefloor.errors import DomainError, UsageError
from falsefloor.models.refs import refusal

VALUES = ("bounds", "scale", "step", "immutable")
"""May be tensors, which other names are buffers of the model."""


def described(
    made: nn.Module | LoadedModel, names: Mapping[str, Any], /, *, files: tuple[str, ...] = ()
) -> LoadedModel:
    """``made`` with what it declares, else with what ``names`` holds under the same name.

    ``input_shape``: sizes of one input, () if unknown. ``classes``: their number, or a list of their names;
    0 if unknown. ``bounds``: (lowest, highest) of the domain, each a number or one for each feature.
    ``units``: words. ``inputs``: a reference. ``output``: the name or number of the logits among several
    values. ``scale``, ``step``, ``immutable``, ``at``, ``multilabel``: see `LoadedModel`.
    Layers and methods that happen to have such a name are no declarations. Raises DomainError.
    """
    if isinstance(made, LoadedModel):
        return dataclasses.replace(made, files=tuple(dict.fromkeys((*made.files, *files))))

    def declared(name: str, unknown: Any) -> Any:
        for value in (getattr(made, name, None), names.get(name)):
            plain = name in VALUES or not isinstance(value, Tensor)
            if value is not None and plain and not callable(value):
                return value
        return unknown

    inputs, output = declared("inputs", None), declared("output", None)
    at = declared("at", None)
    bounds = declared("bounds", (-inf, inf) if isinstance(at, str) else (0.0, 1.0))
    return LoadedModel(
        module=made,
        classes=_classes(declared("classes", 0)),
        input_shape=_shape(declared("input_shape", ())),
        bounds=_bounds(bounds),
        units=str(declared("units", "")),
        inputs=inputs if isinstance(inputs, str) else None,
        files=files,
        output=output if isinstance(output, str | int) and not isinstance(output, bool) else None,
        at=at if isinstance(at, str) and at else None,
        multilabel=declared("multilabel", False) is True,
        **{name: _values(name, declared(name, None)) for name in ("scale", "step", "immutable")},
    )


def _classes(value: Any) -> int:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return len(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise DomainError(f"The model declares classes = {value!r}; expected a number, or a list of their names.")


def _shape(value: Any) -> tuple[int, ...]:
    if isinstance(value, Sequence) and all(isinstance(size, int) and size > 0 for size in value):
        return tuple(value)
    raise DomainError(
        f"The model declares input_shape = {value!r}; expected the sizes of one input, such as (3, 32, 32)."
    )


def _bounds(value: Any) -> tuple[float | Tensor, float | Tensor]:
    pair = isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2
    if pair and not any(isinstance(end, bool) for end in value):
        low, high = (end if isinstance(end, float | int) else _values("bounds", end) for end in value)
        return low, high
    raise DomainError(
        f"The model declares bounds = {value!r}; expected (lowest, highest): two numbers, or two lists or"
        " tensors with one for each feature."
    )


def _values(name: str, value: Any) -> Any:
    """Numbers as they stand or, of a list or an array, as a tensor; the name of a file is kept."""
    if value is None or isinstance(value, float | int | str | Tensor):
        return value
    try:
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DomainError(
            f"The model declares {name} = {value!r:.200}; expected numbers, one for all or for each feature."
        ) from error


WITHIN = ("state_dict", "model_state_dict", "model", "net", "weights")
"""Keys under which training scripts keep the dictionary, beside the optimiser's."""
PREFIXES = ("module.", "_orig_mod.", "model.")
"""What DataParallel, torch.compile and Lightning put before every name."""
NAMED = 5


def with_weights(loaded: LoadedModel, path: Path) -> LoadedModel:
    """The model with the file's tensors, all of them and no others. Raises `UsageError` and `DomainError`."""
    state = read_state(path)
    own = dict(loaded.module.state_dict())
    for prefix in PREFIXES:
        bare = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
        if not own.keys() & state.keys() and own.keys() & bare.keys():
            state = bare
    missing, foreign = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    if missing or foreign:
        raise DomainError(
            f"{path} does not fit the model: {_listed('it lacks', missing)}"
            f"{_listed('it holds beside them', foreign)}the model has {len(own)} tensors, the file"
            f" {len(state)}. Give the factory of the architecture that was trained."
        )
    other = [name for name in own if own[name].shape != state[name].shape]
    if other:
        name = other[0]
        raise DomainError(
            f"{path} does not fit the model: {name} is {tuple(state[name].shape)} in the file and"
            f" {tuple(own[name].shape)} in the model ({len(other)} tensors differ). Give the factory the"
            " sizes that were trained."
        )
    try:
        loaded.module.load_state_dict(state)
    except RuntimeError as error:
        raise DomainError(f"{path} cannot be loaded into the model: {str(error)[:300]}") from error
    return dataclasses.replace(loaded, files=(*loaded.files, str(path.resolve())))


def read_state(path: Path) -> dict[str, Tensor]:
    """Tensors by name. Nothing in the file is executed. Raises `UsageError`."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise UsageError(
            f"{path} cannot be read as safetensors: {error}. Write it or copy it again."
        ) from error
    except Exception as error:  # torch raises whatever its readers happen to raise
        first = str(error).strip().partition("\n")[0][:200]
        raise refusal(
            f"{path} cannot be read as weights alone ({type(error).__name__}: {first}). Write it with"
            " torch.save(model.state_dict(), FILE) or safetensors.torch.save_file.",
            str(path),
        ) from error
    for key in WITHIN:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not all(isinstance(tensor, Tensor) for tensor in found.values()):
        raise UsageError(
            f"{path} holds {type(found).__name__}, not tensors by name. Write it with"
            " torch.save(model.state_dict(), FILE)."
        )
    return dict(found)


def _listed(what: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{what} {', '.join(names[:NAMED])}{more}; "
