"""What a process is set to beside the work itself, noted before a stranger's code runs and put back after it.

A model that sets the default dtype, an estimator that seeds the global generator or replaces a function of
torch: whoever computes next in this process would have other numbers. Models have processes of their own;
estimators of one model share it, and `evaluate` shares its caller's.
"""

from __future__ import annotations

import builtins
import contextlib
import ctypes
import faulthandler
import functools
import gc
import operator
import os
import random
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

_C: Any = torch._C
_cuda: Any = torch.cuda
_libm: Any = functools.cache(lambda: ctypes.CDLL(None))
_SETTINGS: tuple[tuple[Callable[[], Any], Callable[[Any], Any]], ...] = (
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.get_num_threads, torch.set_num_threads),
    (torch.is_grad_enabled, torch.set_grad_enabled),
    (
        lambda: (_C._get_deterministic_algorithms(), _C._get_deterministic_algorithms_warn_only()),
        lambda how: _C._set_deterministic_algorithms(how[0], warn_only=how[1]),
    ),
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    (torch.is_warn_always_enabled, torch.set_warn_always),
    (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    (lambda: torch.is_autocast_enabled("cpu"), lambda on: torch.set_autocast_enabled("cpu", on)),
    (lambda: torch.is_autocast_enabled("cuda"), lambda on: torch.set_autocast_enabled("cuda", on)),
    (_C._get_cudnn_enabled, _C._set_cudnn_enabled),
    (_C._get_cudnn_benchmark, _C._set_cudnn_benchmark),
    (_C._get_cudnn_deterministic, _C._set_cudnn_deterministic),
    (_C._get_mkldnn_enabled, _C._set_mkldnn_enabled),
    (_C._get_nnpack_enabled, _C._set_nnpack_enabled),
    (lambda: 5e-324 * _ONE == 0.0, torch.set_flush_denormal),
    (lambda: _libm().fegetround(), lambda how: _libm().fesetround(how)),
    (np.geterr, lambda how: np.seterr(**how)),
    (sys.getrecursionlimit, sys.setrecursionlimit),
    (sys.getswitchinterval, sys.setswitchinterval),
    (sys.gettrace, sys.settrace),
    (sys.getprofile, sys.setprofile),
    (gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
    (faulthandler.is_enabled, lambda on: faulthandler.enable() if on else faulthandler.disable()),
    (lambda: _umask(), os.umask),
    (os.getcwd, os.chdir),
)
"""How a setting is asked for and set; what this version of a library cannot answer is left alone."""
_ONE = 1.0
_STREAMS = ("stdin", "stdout", "stderr", "excepthook", "unraisablehook", "displayhook")
_SIGNALS = tuple(
    getattr(signal, name)
    for name in (
        "SIGHUP", "SIGINT", "SIGQUIT", "SIGILL", "SIGABRT", "SIGFPE", "SIGSEGV", "SIGPIPE", "SIGALRM",
        "SIGTERM",         "SIGUSR1", "SIGUSR2", "SIGCHLD", "SIGVTALRM", "SIGPROF",
    )
)  # fmt: skip
_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
_NAMESPACES: tuple[Any, ...] = (
    torch, torch.nn.functional, torch.autograd, torch.linalg, torch.Tensor, torch.nn.Module, np, np.random,
    np.linalg, random, builtins, os, time,
)  # fmt: skip
"""Where a replaced function would be everybody's. Names that are added to a module are left there."""
_HOOKS = tuple(
    value
    for name, value in vars(torch.nn.modules.module).items()
    if name.startswith("_global_") and isinstance(value, dict)
)


def _umask() -> int:
    now = os.umask(0o077)
    os.umask(now)
    return now


def _modes() -> int:
    return int(_C._len_torch_function_stack())


@dataclass(frozen=True)
class Surroundings:
    """One process's state at one moment; `restore` puts back what differs from it."""

    settings: tuple[Any, ...]
    generators: tuple[Any, Any, Any, list[Any]]
    namespaces: tuple[Mapping[str, Any], ...]
    environment: Mapping[str, str]
    streams: tuple[Any, ...]
    path: tuple[str, ...]
    handlers: tuple[Any, ...]
    timers: tuple[Any, ...]
    filters: tuple[Any, ...]
    warned: tuple[Any, ...]
    hooks: tuple[Mapping[Any, Any], ...]
    modes: int
    device: torch.device | None
    files: tuple[tuple[int, int] | None, ...] = ()
    held: list[int] = field(default_factory=list)

    @staticmethod
    def now() -> Surroundings:
        return Surroundings(
            settings=tuple(_asked(ask) for ask, _ in _SETTINGS),
            generators=(
                torch.get_rng_state(),
                np.random.get_state(),
                random.getstate(),
                torch.cuda.get_rng_state_all() if _cuda.is_initialized() else [],
            ),
            namespaces=tuple(dict(vars(one)) for one in _NAMESPACES),
            environment=dict(os.environ),
            streams=tuple(getattr(sys, name) for name in _STREAMS),
            path=tuple(sys.path),
            handlers=tuple(signal.getsignal(one) for one in _SIGNALS),
            timers=tuple(signal.getitimer(one) for one in _TIMERS),
            filters=tuple(warnings.filters),
            warned=(warnings.filters, warnings.showwarning, warnings.warn),
            hooks=tuple(dict(one) for one in _HOOKS),
            modes=_modes(),
            device=_default_device(),
            files=tuple(_file(number) for number in range(3)),
            held=[_held(number) for number in range(3)],
        )

    def restore(self) -> None:
        """Put back what is not as it was. Never raises: what cannot be put back stays as it is."""
        sys.setrecursionlimit(max(sys.getrecursionlimit(), 1000))
        for one, before in zip(_NAMESPACES, self.namespaces, strict=True):
            _put_back(one, before)
        for how in (
            self._restore_settings, self._restore_generators, self._restore_streams, self._restore_signals,
            self._restore_warnings, self._restore_torch, self._restore_files,
        ):  # fmt: skip
            with contextlib.suppress(Exception):
                how()

    def _restore_settings(self) -> None:
        for (ask, put), before in zip(_SETTINGS, self.settings, strict=True):
            if before is not None and _asked(ask) != before:
                with contextlib.suppress(Exception):
                    put(before)
        if dict(os.environ) != self.environment:
            for name in {*os.environ} - {*self.environment}:
                del os.environ[name]
            os.environ.update(self.environment)

    def _restore_generators(self) -> None:
        torch_state, numpy_state, python_state, cards = self.generators
        torch.set_rng_state(torch_state)
        np.random.set_state(numpy_state)
        random.setstate(python_state)
        if cards:
            torch.cuda.set_rng_state_all(cards)

    def _restore_streams(self) -> None:
        for name, before in zip(_STREAMS, self.streams, strict=True):
            if getattr(sys, name, None) is not before:
                setattr(sys, name, before)
        if tuple(sys.path) != self.path:
            sys.path[:] = self.path

    def _restore_signals(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # nor could whoever ran here have changed them
        for one, before in zip(_SIGNALS, self.handlers, strict=True):
            if before is not None and signal.getsignal(one) is not before:
                signal.signal(one, before)
        for which, timer in zip(_TIMERS, self.timers, strict=True):
            if not timer[0] and signal.getitimer(which)[0]:
                signal.setitimer(which, 0.0)

    def _restore_warnings(self) -> None:
        filters, show, warn = self.warned
        if warnings.filters is not filters or tuple(filters) != self.filters:
            filters[:] = self.filters
            warnings.filters = filters
            warnings._filters_mutated()  # type: ignore[attr-defined]
        warnings.showwarning, warnings.warn = show, warn

    def _restore_torch(self) -> None:
        for one, before in zip(_HOOKS, self.hooks, strict=True):
            if dict(one) != before:
                one.clear()
                one.update(before)
        if _default_device() != self.device:
            torch.set_default_device(self.device)
        while _modes() > self.modes:
            _C._pop_torch_function_stack()

    def _restore_files(self) -> None:
        for number, (before, held) in enumerate(zip(self.files, self.held, strict=True)):
            if before is not None and _file(number) != before:
                os.dup2(held, number)

    def forget(self) -> None:
        """Close what was held open for `restore`."""
        for number in self.held:
            if number >= 0:
                with contextlib.suppress(OSError):
                    os.close(number)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Whatever happens inside, the process is as before."""
    before = Surroundings.now()
    try:
        yield
    finally:
        before.restore()
        before.forget()


def _asked(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except Exception:
        return None


def _default_device() -> torch.device | None:
    context = getattr(getattr(torch, "_GLOBAL_DEVICE_CONTEXT", None), "device_context", None)
    return None if context is None else context.device


def _file(number: int) -> tuple[int, int] | None:
    try:
        found = os.fstat(number)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _held(number: int) -> int:
    try:
        return os.dup(number)
    except OSError:
        return -1


def _put_back(one: Any, before: Mapping[str, Any]) -> None:
    """What a module or class held under each name; of names that came, those that hide an inherited one."""
    now = vars(one)
    is_class = isinstance(one, type)
    if len(now) == len(before) and all(map(operator.is_, now.values(), before.values())):
        return
    for name, value in before.items():
        if now.get(name, one) is not value and (is_class or not name.startswith("_")):
            with contextlib.suppress(AttributeError, TypeError):
                setattr(one, name, value)
    if is_class:
        inherited = {name for base in one.__mro__[1:] for name in vars(base)}
        for name in [name for name in now if name not in before and name in inherited]:
            with contextlib.suppress(AttributeError, TypeError):
                delattr(one, name)
