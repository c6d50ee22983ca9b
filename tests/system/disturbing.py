"""Models that disturb whoever computes after them, beside `good`, which must keep its bits.

Each is loaded by its name, `python:disturbing.py:NAME`, and answers as `good` does until it acts.
"""

from __future__ import annotations

import atexit
import builtins
import ctypes
import faulthandler
import gc
import json
import locale
import os
import random
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

LATER = 90
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


KEPT: list[Any] = []
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
    "inference": lambda: KEPT.append(torch._C._InferenceMode(True)),  # type: ignore[attr-defined]
    "saved_tensors": lambda: torch.autograd.graph.saved_tensors_hooks(torch.neg, torch.neg).__enter__(),
    "autocast": lambda: torch.set_autocast_enabled("cpu", True),
    "patched_linear": lambda: setattr(torch.nn.functional, "linear", lambda x, w, b=None: x @ w.T),
    "patched_json": lambda: setattr(json, "dumps", lambda *_, **__: "[]"),
    "patched_struct": lambda: setattr(struct, "pack", lambda *_: b"R" * 16),
    "patched_print_open": lambda: [setattr(builtins, name, None) for name in ("print", "open", "isinstance")],
    "patched_clock": lambda: [setattr(time, name, lambda: 0.0) for name in ("time", "monotonic")],
    "patched_threads": lambda: setattr(threading.Thread, "start", lambda _: None),
    "no_modules": lambda: [sys.modules.pop(name, None) for name in ("json", "torch", "numpy", "falsefloor")],
    "no_finders": lambda: sys.meta_path.clear(),
    "closed_streams": lambda: [getattr(sys, name).close() for name in ("stdin", "stdout", "stderr")],
    "locales": lambda: locale.setlocale(locale.LC_ALL, ""),
    "clock_zone": lambda: (os.environ.update(TZ="Pacific/Kiritimati"), time.tzset()),
    "no_files": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
    "no_processes": lambda: resource.setrlimit(resource.RLIMIT_NPROC, (1, 1)),
    "outlives_its_parent": lambda: ctypes.CDLL(None).prctl(1, 0, 0, 0, 0),
    "dumps": lambda: faulthandler.dump_traceback_later(0.01, repeat=True),
    "traces": lambda: sys.settrace(lambda *_: None),
    "names_itself": lambda: ctypes.CDLL(None).prctl(15, b"falsefloor", 0, 0, 0),
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


def _deaf() -> None:
    """Processes that hear nothing and outlive their parents, and no parent that watches."""
    ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    for _ in range(8):
        _fork(lambda: (os.setsid(), _fork(lambda: time.sleep(300)), time.sleep(300)))
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(300)


def _grandparent() -> int:
    stat = Path(f"/proc/{os.getppid()}/stat").read_text(encoding="ascii")
    return int(stat.rpartition(")")[2].split()[1])


def _swaps() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3, 64):
        if number != null:
            os.dup2(null, number)
    time.sleep(300)


def _long_message() -> None:
    """The beginning of a message that never ends, to whoever reads."""
    for number in range(3, 64):
        try:
            os.write(number, (2**29).to_bytes(4, "big") + b"R")
        except OSError:
            continue


def _hoards_descriptors() -> None:
    for _ in iter(int, 1):
        KEPT.append(os.open(os.devnull, os.O_RDONLY))


def _memory_of_a_child() -> None:
    """Of three programs, each of which stays below what one process may take."""
    for _ in range(3):
        subprocess.Popen([sys.executable, "-c", "import time; kept = b'x' * 10**9; time.sleep(300)"])
    time.sleep(1000)


def _thread_without_end() -> None:
    threading.Thread(target=lambda: time.sleep(1000), daemon=False).start()


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
    "spins": lambda: deque(iter(int, 1), maxlen=0),
    "prints_without_end": lambda: [sys.stdout.write("x" * 65536) for _ in iter(int, 1)],
    "memory_without_end": lambda: [np.ones(2**23) for _ in iter(int, 1)],
    "deaf": _deaf,
    "kills_its_grandparent": lambda: os.kill(_grandparent(), signal.SIGKILL),
    "stops_its_grandparent": lambda: os.kill(_grandparent(), signal.SIGSTOP),
    "swaps_descriptors": _swaps,
    "long_message": _long_message,
    "hoards_descriptors": _hoards_descriptors,
    "closes_all_descriptors": lambda: os.closerange(0, 256),
    "thread_without_end": _thread_without_end,
    "becomes_a_program": lambda: os.execvp("sleep", ["sleep", "300"]),
    "profile_alarm": lambda: signal.setitimer(signal.ITIMER_PROF, 0.01),
    "memory_of_a_child": _memory_of_a_child,
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
