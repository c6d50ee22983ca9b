"""State dictionaries: weights from a file of tensors into a model that a factory made."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from falsefloor.api import LoadedModel
from falsefloor.errors import DomainError, UsageError
from falsefloor.models.kinds import refusal

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
