"""How fast a model is here: what a forecast is made of, measured on the loaded model in seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from falsefloor.gradients.straight_through import StraightThrough
from falsefloor.subjects.subject import ModelSubject

SPAN = 0.06
"""Seconds from which on a timed pass takes no more rows, where memory and the subject let it."""
TIMES, LONG = 5, 1.0
"""Of a pass the shortest of so many timings counts, or of as many as a second allows, two at least."""
DRAWN = 1024
"""Points drawn to time a number of them."""


def pace(subject: ModelSubject, point: Tensor, *, rows: int) -> dict[str, float]:
    """Seconds by name at one input (1, *input), the shortest of a few timings; empty where a pass raises.

    call: one row, forward and backward, as the steps of a search are. forward, backward: a row more in a full
    batch; where autograd has no path the backward is supposed to take as long as the forward. op: an
    operation on a few numbers. element: one number of a drawn, weighed and summed point. Seconds are without
    the waiting for a core that others had, and busy is how many times as long it was with it. masked: 1 where
    the repaired gradient is another than autograd's, and so is walked along too. rows: how many one forward
    may take.
    """
    module, waited = subject.module, _Waited()
    devices = [point.device] if point.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.enable_grad():
        try:
            _both(module, point)
            call = waited.timed(lambda: _both(module, point), point)
            batch, whole = point, waited.timed(partial(_forward, module, point), point)
            while whole < SPAN and 4 * len(batch) <= min(rows, subject.at_once(point)):
                batch = point.expand(4 * len(batch), *point.shape[1:])
                whole = waited.timed(partial(_forward, module, batch), point)
            many = len(batch)
            forward = whole / many
            both = waited.timed(lambda: _both(module, batch), point) / many
            few = point.new_ones(16)
            op = waited.timed(lambda: [few.mul(0.5) for _ in range(50)], point) / 50
            drawn = torch.empty(DRAWN, point[0].numel(), device=point.device, dtype=point.dtype)
            element = waited.timed(lambda: drawn.uniform_(-1, 1).mul(0.5).abs().sum(1), point) / drawn.numel()
            masked = float(_repaired(subject, point))
        except Exception:  # it is only a forecast; what is wrong is told by whoever asks the model in earnest
            return {}
    backward = max(both - forward, forward)
    busy = waited.busy
    return {
        "call": call, "forward": forward, "backward": backward, "op": op, "element": element, "busy": busy,
        "masked": masked,
    }  # fmt: skip


def _repaired(subject: ModelSubject, point: Tensor) -> bool:
    found: list[Tensor] = []
    for function in (subject, StraightThrough()(subject)):
        leaf = point.detach().clone().requires_grad_()
        logits = function(leaf)
        if not logits.requires_grad:
            return True
        (slope,) = torch.autograd.grad(logits[:, 0].sum(), leaf, allow_unused=True)
        found.append(torch.zeros_like(leaf) if slope is None else slope)
    own, repaired = found
    return not torch.allclose(own, repaired, rtol=1e-3, atol=0.0, equal_nan=True)


def _forward(module: Callable[[Tensor], Tensor], points: Tensor) -> None:
    with torch.no_grad():
        module(points)


def _both(module: Callable[[Tensor], Tensor], points: Tensor) -> None:
    leaf = points.detach().clone().requires_grad_()
    logits = module(leaf)
    if logits.requires_grad:
        torch.autograd.grad(logits[:, 0].sum(), leaf, allow_unused=True)


class _Waited:
    """Times calls, and what of the time was waiting for a core that others had."""

    def __init__(self) -> None:
        self.wall = self.worked = 0.0

    def timed(self, run: Callable[[], object], point: Tensor) -> float:
        """Seconds of the shortest of a few calls, without the waiting."""
        found: list[float] = []
        while len(found) < 2 or (len(found) < TIMES and sum(found) < LONG):
            began, queued, own = time.perf_counter(), _queued(), time.thread_time()
            run()
            if point.device.type == "cuda":
                torch.cuda.synchronize(point.device)
            wall = time.perf_counter() - began
            # the kernel counts a wait when it ends: it may have begun before this call
            found.append(max(wall - (_queued() - queued), min(time.thread_time() - own, wall)))
            self.wall, self.worked = self.wall + wall, self.worked + found[-1]
        return min(found)

    @property
    def busy(self) -> float:
        return self.wall / max(self.worked, 1e-9)


def _queued() -> float:
    """Seconds that this thread has been ready to run and had no core, where the kernel tells."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0
