"""Modules as they come: a copy that leaves the caller's alone, in evaluation mode, with nothing trainable.

torch copies only what is a leaf of the graph and what can be pickled. A layer under the older weight_norm or
spectral_norm, a pruned one and one that keeps its last activation hold tensors that were computed; others
hold locks, open files, threads. The first are copied without their history, the second are shared.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import types
import warnings
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from falsefloor.errors import DomainError

_PLAIN = (
    str, bytes, int, float, complex, type(None), type, torch.dtype, torch.device, torch.Size,
    types.FunctionType, types.BuiltinFunctionType,
)  # fmt: skip


def copied(module: nn.Module) -> nn.Module:
    """A deep copy. Raises `DomainError` for a module that cannot be copied."""
    memo: dict[int, Any] = {}
    with warnings.catch_warnings():
        # Exported and scripted modules warn about their own internals when copied; nothing there is the
        # user's to act on.
        warnings.simplefilter("ignore")
        try:
            _note(module, memo, set())
            made = copy.deepcopy(module, memo)
            for parameter in made.parameters():
                if parameter.grad_fn is not None:  # TorchScript copies a parameter with its history
                    parameter.detach_()
            return made
        except (torch.OutOfMemoryError, MemoryError):
            raise
        except Exception as error:
            raise DomainError(
                f"the model {type(module).__name__} cannot be copied, and a copy is judged so that yours"
                f" stays as it is ({type(error).__name__}: {str(error)[:200]}). Keep what cannot be copied"
                " outside the module, or give a function that makes the model: python:FILE.py:build."
            ) from error


def _note(value: Any, memo: dict[int, Any], known: set[int]) -> None:
    """Put into ``memo``, as `copy.deepcopy` reads it, what stands in the copy for what it could not copy."""
    if id(value) in known or isinstance(value, _PLAIN):
        return
    known.add(id(value))
    if isinstance(value, Tensor):
        if value.grad_fn is not None:
            memo[id(value)] = value.detach().clone()
        return
    if isinstance(value, types.ModuleType):
        memo[id(value)] = value
        return
    for part in _parts(value):
        _note(part, memo, known)
    if isinstance(value, nn.Module | dict | list | tuple | set | frozenset | deque):
        return
    try:
        copy.deepcopy(value, dict(memo))
    except Exception:
        memo[id(value)] = value


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, torch.jit.ScriptModule):
        return ()
    if isinstance(value, Mapping):
        return [*value.values()]
    if isinstance(value, list | tuple | set | frozenset | deque):
        return [*value]
    if isinstance(value, types.MethodType):
        return (value.__self__,)
    if isinstance(value, functools.partial):
        return (*value.args, *value.keywords.values())
    return [*getattr(value, "__dict__", {}).values()]


def bare(module: nn.Module) -> nn.Module:
    """The module inside what only spreads or compiles it: the same function, without its machinery."""
    while True:
        inside = getattr(module, "_orig_mod", None)
        if inside is None and isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inside = module.module
        if not isinstance(inside, nn.Module):
            return module
        module = inside


def at_rest(module: nn.Module) -> nn.Module:
    """The module itself, in evaluation mode and with parameters that take no gradient.

    Its own `eval` decides what that mode is, whatever it returns; where it refuses, as an exported program's
    does, only the flags are set.
    """
    try:
        module.eval()
    except Exception:
        for part in module.modules():
            with contextlib.suppress(Exception):  # frozen TorchScript has no such flag any more
                part.training = False
    for parameter in module.parameters():
        parameter.requires_grad_(False)  # the module's own method is missing where it was scripted
    return module


def check_initialised(module: nn.Module) -> None:
    """Raises `DomainError` where layers wait for a first batch before they have weights."""
    lazy = [
        name or type(part).__name__
        for name, part in module.named_modules()
        if any(
            nn.parameter.is_lazy(tensor)
            for tensor in (*part._parameters.values(), *part._buffers.values())
            if tensor is not None
        )
    ]
    if lazy:
        raise DomainError(
            f"the layers {', '.join(lazy[:8])} of the model are lazy and were never called, so it has no"
            " weights to judge. Call it once, model(inputs), then load or train its weights."
        )
