"""What a process is set to beside the work itself, noted before a stranger's code runs and put back after it.

A model that sets the default dtype, an estimator that seeds the global generator or replaces a function of
torch: whoever computes next in this process would have other numbers. Models have processes of their own;
estimators of one model share it, and `evaluate` shares its caller's.
"""

from __future__ import annotations

import contextlib
import ctypes
import decimal
import faulthandler
import functools
import gc
import locale
import logging
import os
import random
import resource
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

from falsefloor.engine import replaced

_C: Any = torch._C
_cuda: Any = torch.cuda
_libm: Any = functools.cache(lambda: ctypes.CDLL(None))
_LIMITS: tuple[int, ...] = tuple(
    getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")
)
_SETTINGS: tuple[tuple[Callable[[], Any], Callable[[Any], Any]], ...] = (
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.get_num_threads, torch.set_num_threads),
    # whoever leaves it on keeps it on: what is put over it is kept as well
    (torch.is_inference_mode_enabled, lambda on: _KEPT.append(_C._InferenceMode(on))),
    (lambda: _saved(), lambda before: _put_saved(before)),
    (_C._is_multithreading_enabled, _C._set_multithreading_enabled),
    (_C._is_fwd_grad_enabled, _C._set_fwd_grad_enabled),
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
    (lambda: torch.get_autocast_dtype("cpu"), lambda kind: torch.set_autocast_dtype("cpu", kind)),
    (_C._get_cudnn_enabled, _C._set_cudnn_enabled),
    (_C._get_cudnn_benchmark, _C._set_cudnn_benchmark),
    (_C._get_cudnn_deterministic, _C._set_cudnn_deterministic),
    (_C._get_mkldnn_enabled, _C._set_mkldnn_enabled),
    (_C._get_nnpack_enabled, _C._set_nnpack_enabled),
    (lambda: 5e-324 * _ONE == 0.0, torch.set_flush_denormal),
    (lambda: _libm().fegetround(), lambda how: _libm().fesetround(how)),
    (np.geterr, lambda how: np.seterr(**how)),
    (np.getbufsize, np.setbufsize),
    (lambda: decimal.getcontext().__reduce__()[1], lambda how: decimal.setcontext(decimal.Context(*how))),
    (lambda: locale.setlocale(locale.LC_ALL), lambda how: locale.setlocale(locale.LC_ALL, how)),
    (lambda: logging.root.manager.disable, logging.disable),
    (sys.get_int_max_str_digits, sys.set_int_max_str_digits),
    (sys.getrecursionlimit, sys.setrecursionlimit),
    (sys.getswitchinterval, sys.setswitchinterval),
    (sys.gettrace, sys.settrace),
    (sys.getprofile, sys.setprofile),
    (gc.get_threshold, lambda how: gc.set_threshold(*how)),
    (gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
    (faulthandler.is_enabled, lambda on: faulthandler.enable() if on else faulthandler.disable()),
    (lambda: _umask(), os.umask),
    (os.getcwd, os.chdir),
    (lambda: [resource.getrlimit(one) for one in _LIMITS], lambda before: _put_limits(before)),
    (
        lambda: signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        lambda mask: signal.pthread_sigmask(signal.SIG_SETMASK, mask),
    ),
    (lambda: os.sched_getaffinity(0), lambda cores: os.sched_setaffinity(0, cores)),
    (threading.gettrace, threading.settrace),
    (threading.getprofile, threading.setprofile),
)
"""How a setting is asked for and set; what this version of a library cannot answer is left alone."""
_ONE = 1.0
_KEPT: list[Any] = []
_OF_SYS = (
    "stdin", "stdout", "stderr", "excepthook", "unraisablehook", "displayhook", "breakpointhook",
    "executable",
)  # fmt: skip
_LISTS = ("path", "meta_path", "path_hooks", "argv")
_UNKNOWN = object()
_SIGNALS = tuple(
    getattr(signal, name)
    for name in (
        "SIGHUP", "SIGINT", "SIGQUIT", "SIGILL", "SIGABRT", "SIGFPE", "SIGSEGV", "SIGPIPE", "SIGALRM",
        "SIGTERM",         "SIGUSR1", "SIGUSR2", "SIGCHLD", "SIGVTALRM", "SIGPROF",
    )
)  # fmt: skip
_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
_HOOKS = tuple(
    value
    for name, value in vars(torch.nn.modules.module).items()
    if name.startswith("_global_") and isinstance(value, dict)
)


def _umask() -> int:
    now = os.umask(0o077)
    os.umask(now)
    return now


def _put_limits(before: list[tuple[int, int]]) -> None:
    for one, limits in zip(_LIMITS, before, strict=True):
        if resource.getrlimit(one) != limits:
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(one, limits)


def _saved() -> tuple[Any, ...]:
    """The functions that tensors kept for a backward pass go through, and why there may be none."""
    own = _C._autograd
    return own._top_saved_tensors_default_hooks(False), own._saved_tensors_hooks_get_disabled_error_message()


def _put_saved(before: tuple[Any, ...]) -> None:
    own, (top, disabled) = _C._autograd, before
    if disabled is None:
        own._saved_tensors_hooks_enable()
    while (now := _saved()[0]) not in (None, top):
        own._pop_saved_tensors_default_hooks()
    if now is None and top is not None:
        own._push_saved_tensors_default_hooks(*top)


_STACKS: tuple[tuple[Callable[[], int], Callable[[], Any]], ...] = (
    (_C._len_torch_function_stack, _C._pop_torch_function_stack),
    (_C._len_torch_dispatch_stack, lambda: _C._pop_torch_dispatch_stack(None)),
)
"""Modes that see every operation: how many are on, and how the last is left."""


@dataclass(frozen=True)
class Surroundings:
    """One process's state at one moment; `restore` puts back what differs from it."""

    settings: tuple[Any, ...]
    generators: tuple[Any, Any, Any, list[Any]]
    modules: Mapping[str, Any]
    environment: Mapping[str, str]
    of_sys: tuple[Any, ...]
    lists: tuple[tuple[list[Any], tuple[Any, ...]], ...]
    handlers: tuple[Any, ...]
    timers: tuple[Any, ...]
    filters: tuple[Any, ...]
    warned: tuple[Any, ...]
    hooks: tuple[Mapping[Any, Any], ...]
    modes: tuple[int, ...]
    device: torch.device | None
    files: tuple[tuple[int, int] | None, ...] = ()
    opened: tuple[bool, ...] = ()
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
            modules=replaced.note(),
            environment=dict(os.environ),
            of_sys=tuple(getattr(sys, name) for name in _OF_SYS),
            lists=tuple((getattr(sys, name), tuple(getattr(sys, name))) for name in _LISTS),
            handlers=tuple(signal.getsignal(one) for one in _SIGNALS),
            timers=tuple(signal.getitimer(one) for one in _TIMERS),
            filters=tuple(warnings.filters),
            warned=(warnings.filters, warnings.showwarning, warnings.warn),
            hooks=tuple(dict(one) for one in _HOOKS),
            modes=tuple(count() for count, _ in _STACKS),
            device=_default_device(),
            files=tuple(_file(number) for number in range(3)),
            opened=tuple(not getattr(one, "closed", True) for one in (sys.stdin, sys.stdout, sys.stderr)),
            held=[_held(number) for number in range(3)],
        )

    def restore(self) -> bool:
        """Put back what is not as it was. Never raises: what cannot be put back stays as it is.

        Returns whether nothing stayed.
        """
        sys.setrecursionlimit(max(sys.getrecursionlimit(), 1000))
        replaced.put_back(self.modules)
        for how in (
            self._restore_torch, self._restore_generators, self._restore_of_sys, self._restore_environment,
            self._restore_signals, self._restore_warnings, self._restore_files,
        ):  # fmt: skip
            with contextlib.suppress(Exception):
                how()
        return self._restore_settings()

    def _restore_settings(self) -> bool:
        left = [
            (ask, put, before)
            for (ask, put), before in zip(_SETTINGS, self.settings, strict=True)
            if before is not _UNKNOWN and _asked(ask) != before
        ]
        for _, put, before in left:
            with contextlib.suppress(Exception):
                put(before)
        return not _KEPT and all(_asked(ask) == before for ask, _, before in left)

    def _restore_environment(self) -> None:
        if dict(os.environ) != self.environment:
            for name in {*os.environ} - {*self.environment}:
                del os.environ[name]
            os.environ.update(self.environment)
            time.tzset()

    def _restore_generators(self) -> None:
        torch_state, numpy_state, python_state, cards = self.generators
        torch.set_rng_state(torch_state)
        np.random.set_state(numpy_state)
        random.setstate(python_state)
        if cards:
            torch.cuda.set_rng_state_all(cards)

    def _restore_of_sys(self) -> None:
        for name, before in zip(_OF_SYS, self.of_sys, strict=True):
            if getattr(sys, name, None) is not before:
                setattr(sys, name, before)
        for name, (own, held) in zip(_LISTS, self.lists, strict=True):
            if getattr(sys, name, None) is not own or tuple(own) != held:
                own[:] = held
                setattr(sys, name, own)

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
        for (count, leave), before in zip(_STACKS, self.modes, strict=True):
            while count() > before:
                leave()
        for one, hooks in zip(_HOOKS, self.hooks, strict=True):
            if dict(one) != hooks:
                one.clear()
                one.update(hooks)
        if _default_device() != self.device:
            torch.set_default_device(self.device)

    def _restore_files(self) -> None:
        for number, (before, held) in enumerate(zip(self.files, self.held, strict=True)):
            if before is not None and _file(number) != before:
                os.dup2(held, number)
        for number, name in enumerate(("stdin", "stdout", "stderr")):
            if self.opened[number] and getattr(sys, name).closed:
                setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))

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
        return _UNKNOWN


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
