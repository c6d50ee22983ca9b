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


def settled(module: nn.Module) -> tuple[nn.Module, list[str]]:
    """The same function without the machinery that spreads, compiles, observes or batches it, and how that is
    said. The module's parts are changed in place."""
    said: dict[str, None] = {}
    held = nn.ModuleList([module])
    for name, part in [*held.named_modules(remove_duplicate=False)]:
        if isinstance(inside := _inside(part), nn.Module):
            while isinstance(within := _inside(inside), nn.Module):
                inside = within
            parent, _, attribute = name.rpartition(".")
            setattr(held.get_submodule(parent), attribute, inside)
            if hasattr(part, "_orig_mod"):
                said[COMPILED] = None
    for part in held.modules():
        if _uncompiled(part):
            said[COMPILED] = None
        if hasattr(part, "fake_quant_enabled") and callable(
            switch := getattr(part, "disable_observer", None)
        ):
            switch()
            said[OBSERVED] = None
    module = held[0]
    if any("quantized.dynamic" in type(part).__module__ for part in module.modules()):
        return OneByOne(module), [*said, ALONE]
    return module, [*said]


COMPILED = "the model is compiled by torch.compile; it is judged eager, as the same function"
OBSERVED = "the model's quantisation is simulated and judged as it stands: its observers are switched off"
ALONE = (
    "the model quantises each batch by the range of its values, so that neighbours change an answer:"
    " inputs are asked one by one"
)


class OneByOne(nn.Sequential):
    """Each row of a batch in a batch of its own."""

    prefix = "0."

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.cat([self[0](inputs[at : at + 1]) for at in range(len(inputs))])


def _inside(part: nn.Module) -> Any:
    if isinstance(part, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return part.module
    return getattr(part, "_orig_mod", None)


def _uncompiled(part: nn.Module) -> bool:
    """Whether a part or a function that it calls was compiled; its own attributes are put back."""
    found = getattr(part, "_compiled_call_impl", None) is not None
    if found:
        part._compiled_call_impl = None
    names = [*vars(part), "forward"]
    for name in names:
        plain = getattr(getattr(part, name, None), "_torchdynamo_orig_callable", None)
        if callable(plain):
            bound = plain if name in vars(part) else types.MethodType(plain, part)
            object.__setattr__(part, name, bound)
            found = True
    return found


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
    """Raises `DomainError` where layers wait for a first batch before they have weights, or have none
    here."""
    if any(tensor.is_meta for tensor in (*module.parameters(), *module.buffers())):
        raise DomainError(
            "weights of the model are on torch's meta device, which holds shapes and no numbers. Load them:"
            " model.to_empty(device='cpu'), then model.load_state_dict(…)."
        )
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
