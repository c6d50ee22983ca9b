"""Models that disturb whoever computes after them, beside `good`, which must keep its bits.

Each is loaded by its name, `python:disturbing.py:NAME`, and answers as `good` does until it acts.
"""

from __future__ import annotations

import atexit
import builtins
import ctypes
import faulthandler
import gc
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

LATER = 41
"""Calls after which the violent ones act: the first belong to loading and observing."""


def good() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(8, 16, dtype=torch.float32), nn.ReLU(), nn.Linear(16, 3, dtype=torch.float32)
    )


good_again = good
"""A study has no model twice."""


class Disturbs(nn.Module):
    """`good`, and what it does at each call, by its number."""

    def __init__(self, act: Callable[[int], object]) -> None:
        super().__init__()
        self.net, self.act, self.calls = good(), act, 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls += 1
        self.act(self.calls)
        logits: Tensor = self.net(inputs)
        return logits


QUIET: dict[str, Callable[[], object]] = {
    "default_dtype": lambda: torch.set_default_dtype(torch.float64),
    "default_device": lambda: torch.set_default_device("cpu"),
    "threads": lambda: torch.set_num_threads(2),
    "no_grad": lambda: torch.set_grad_enabled(False),
    "deterministic": lambda: torch._C._set_deterministic_algorithms(True, warn_only=True),  # type: ignore[attr-defined]
    "seeds": lambda: (torch.manual_seed(1), np.random.seed(1), random.seed(1)),
    "denormals": lambda: torch.set_flush_denormal(True),
    "rounding": lambda: ctypes.CDLL(None).fesetround(0x400),
    "anomalies": lambda: torch.autograd.set_detect_anomaly(True),
    "numpy_errors": lambda: np.seterr(all="raise"),
    "directory": lambda: os.chdir("/"),
    "environment": lambda: os.environ.update(OMP_NUM_THREADS="7", FALSEFLOOR_STORE="/nowhere"),
    "no_environment": lambda: os.environ.clear(),
    "umask": lambda: os.umask(0o777),
    "recursion": lambda: sys.setrecursionlimit(500),
    "collector": lambda: gc.disable(),
    "faults": lambda: faulthandler.disable(),
    "filters": lambda: warnings.simplefilter("error"),
    "streams": lambda: [setattr(sys, name, None) for name in ("stdin", "stdout", "stderr")],
    "path": lambda: sys.path.clear(),
    "signals": lambda: [signal.signal(one, signal.SIG_IGN) for one in (signal.SIGTERM, signal.SIGHUP)],
    "blocked": lambda: signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()),
    "exit_handler": lambda: atexit.register(lambda: time.sleep(300)),
    "niceness": lambda: os.nice(1),
    "few_files": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)),
    "patched_torch": lambda: setattr(torch.nn.functional, "relu", torch.sigmoid),
    "patched_tensor": lambda: setattr(torch.Tensor, "sum", lambda self, *_, **__: self.flatten()[0]),
    "patched_module": lambda: setattr(nn.Linear, "forward", lambda self, inputs: inputs @ self.weight.T),
    "patched_numpy": lambda: setattr(np, "asarray", None),
    "patched_builtins": lambda: setattr(builtins, "sorted", lambda values, **_: list(values)),
    "global_hook": lambda: nn.modules.module.register_module_forward_hook(lambda _m, _i, out: out * 2),
    "prints": lambda: print("x" * 2000),
}  # fmt: skip
"""What is done at every call and leaves the process running."""


def _fork(then: Callable[[], object]) -> None:
    if os.fork() == 0:
        then()
        os._exit(0)


def _deserted() -> None:
    """A process of another session, forked twice, whose parents are gone."""
    os.setsid()
    _fork(lambda: time.sleep(300))


def _thread() -> None:
    def work() -> None:
        while True:
            torch.set_default_dtype(torch.float64)
            time.sleep(0.01)

    threading.Thread(target=work, daemon=True).start()


def _closes() -> None:
    os.closerange(3, 256)


def _own_folder() -> None:
    made = tempfile.mkdtemp()
    os.chdir(made)
    Path(made).rmdir()


def _writes_everywhere() -> None:
    for number in range(3, 64):
        try:
            os.write(number, b"x" * 64)
        except OSError:
            continue


def _raise(error: BaseException) -> None:
    raise error


VIOLENT: dict[str, Callable[[], object]] = {
    "forks": lambda: _fork(lambda: time.sleep(300)),
    "forks_deserters": lambda: _fork(_deserted),
    "starts_a_program": lambda: subprocess.Popen(["sleep", "300"], start_new_session=True),
    "starts_a_thread": _thread,
    "own_folder": _own_folder,
    "closes_descriptors": _closes,
    "writes_everywhere": _writes_everywhere,
    "exits": lambda: sys.exit(0),
    "exits_at_once": lambda: os._exit(0),
    "interrupts": lambda: _raise(KeyboardInterrupt()),
    "recurses": lambda: (lambda f: f(f))(lambda f: f(f)),
    "kills_itself": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "kills_its_parent": lambda: os.kill(os.getppid(), signal.SIGKILL),
    "kills_its_group": lambda: os.killpg(0, signal.SIGKILL),
    "stops_itself": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "stops_its_parent": lambda: os.kill(os.getppid(), signal.SIGSTOP),
    "crashes": lambda: ctypes.string_at(0),
    "alarm": lambda: signal.setitimer(signal.ITIMER_REAL, 0.01),
    "hangs": lambda: time.sleep(1000),
    "hangs_with_the_lock": lambda: ctypes.PyDLL(None).sleep(1000),
    "spins": lambda: [None for _ in iter(int, 1)],
    "prints_without_end": lambda: [sys.stdout.write("x" * 65536) for _ in iter(int, 1)],
    "memory_without_end": lambda: [np.ones(2**23) for _ in iter(int, 1)],
    "memory_of_a_child": lambda: _fork(lambda: [np.ones(2**23) for _ in iter(int, 1)]) or time.sleep(1000),
}
"""What is done once, after a while, and mostly is the end of the process."""


def hangs_while_it_loads() -> nn.Module:
    time.sleep(1000)
    return good()


def exits_while_it_loads() -> nn.Module:
    os._exit(3)


def kills_its_parent_while_it_loads() -> nn.Module:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(1000)
    return good()


def takes_memory_while_it_loads() -> nn.Module:
    kept = [torch.ones(2**24) for _ in iter(int, 1)]
    return Disturbs(lambda _: kept)


AT_ONCE = (
    hangs_while_it_loads, exits_while_it_loads, kills_its_parent_while_it_loads, takes_memory_while_it_loads,
)  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in QUIET:
        return lambda: Disturbs(lambda _: QUIET[name]())
    if name in VIOLENT:
        return lambda: Disturbs(lambda call: VIOLENT[name]() if call == LATER else None)
    raise AttributeError(name)
