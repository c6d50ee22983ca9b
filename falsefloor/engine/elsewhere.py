"""One plugin asked in another process, on another day: what `falsefloor.testing` compares its answers with.

Nothing of the kits is imported here, so that what tells a kit from a study cannot tell this one either; the
clock stands elsewhere, and every shared generator does.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import hashlib
import importlib
import os
import platform
import random
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any

from falsefloor.plugins.judging import facts_from

SHIFT = 1237 * 86_400.0 + 12_345.0
"""Seconds by which the clock is ahead: another year, weekday, hour and minute, and a prime number of days, so
that nothing counted in days comes round again."""


def main(request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """{"radii": [...]} of an estimator, {"digest": …} of what a plugin of another kind gives."""
    random.seed(7)
    _elsewhere()
    with clock_ahead():
        plugin = _named(request["module"], request["name"])(**request["params"])
        if request["kind"] == "check":
            found = [plugin(facts_from(facts)) for facts in request["facts"]]
            yield {"digest": repr([[dataclasses.astuple(one) for one in findings] for findings in found])}
            return
        import torch

        torch.manual_seed(7)
        yield ask(request["kind"], plugin, request)


def _elsewhere() -> None:
    """This process, for good: another machine's name, and nothing of a test runner's in the environment."""
    for name in [name for name in os.environ if name.startswith("PYTEST")]:
        del os.environ[name]
    platform.node = socket.gethostname = lambda: "elsewhere"


@contextlib.contextmanager
def clock_ahead() -> Iterator[None]:
    """This process's clock is `SHIFT` ahead meanwhile, for whoever asks `time` or `datetime` by name."""
    kept = {name: getattr(time, name) for name in (*CLOCKS, *CALENDARS)}, datetime.datetime
    try:
        _set_ahead()
        yield
    finally:
        for name, real in kept[0].items():
            setattr(time, name, real)
        datetime.datetime = kept[1]  # type: ignore[misc]


CLOCKS = ("time", "time_ns", "perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns")
CALENDARS = ("localtime", "gmtime", "ctime")


def _set_ahead() -> None:
    for name in CLOCKS:
        real, ahead = getattr(time, name), SHIFT * 1e9 if name.endswith("_ns") else SHIFT

        def later(*, _real: Any = real, _ahead: float = ahead, _whole: bool = name.endswith("_ns")) -> Any:
            return _real() + (int(_ahead) if _whole else _ahead)

        setattr(time, name, later)
    for name in CALENDARS:
        of = getattr(time, name)
        setattr(time, name, lambda at=None, /, _of=of: _of(time.time() if at is None else at))
    real_datetime = datetime.datetime

    class Later(real_datetime):  # type: ignore[valid-type,misc]
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return real_datetime.fromtimestamp(time.time(), tz)

        @classmethod
        def utcnow(cls) -> Any:
            return real_datetime.fromtimestamp(time.time(), datetime.UTC).replace(tzinfo=None)

        @classmethod
        def today(cls) -> Any:
            return cls.now()

    datetime.datetime = Later  # type: ignore[misc]


def ask(kind: str, plugin: Any, request: Mapping[str, Any]) -> dict[str, Any]:
    """What a plugin says of a chain of linear layers with ReLUs between, given as numbers; a source of models
    of the reference that it is given."""
    import torch

    from falsefloor.api import NotApplicable
    from falsefloor.engine.context import RunContext, generators
    from falsefloor.subjects.subject import ModelSubject

    if kind == "model":
        module = plugin(request["ref"]).module.eval()
        with torch.no_grad():
            return {"digest": digest(module(torch.tensor(request["inputs"])))}
    inputs = torch.tensor(request["inputs"], dtype=torch.float32)
    subject = ModelSubject(chain(request["layers"]), classes=len(request["layers"][-1][1]))
    try:
        if kind == "estimator":
            norm, labels = request["norm"], torch.tensor(request["labels"])
            context = RunContext(generators(inputs, seed=0, norm=norm))
            radius = plugin(subject, inputs, labels, norm=norm, context=context).radius
            return {"radii": [float(value) for value in radius.detach().double()]}
        if kind == "masker":
            if callable(calibrate := getattr(plugin, "calibrate", None)):
                plugin = calibrate(inputs.clone(), RunContext(generators(inputs, seed=0, norm="calibrate")))
            with torch.no_grad():
                return {"digest": digest(plugin(torch.nn.Identity()).eval()(inputs))}
        points = inputs.requires_grad_()
        logits = plugin(subject)(points)
        (gradient,) = torch.autograd.grad(logits[:, 0].sum(), points)
        return {"digest": digest(logits) + digest(gradient)}
    except NotApplicable as declined:
        return {"declined": str(declined)}


def chain(layers: Any) -> Any:
    """Flatten, then linear layers (weight, bias) with a ReLU between each two."""
    import torch
    from torch import nn

    parts: list[nn.Module] = [nn.Flatten()]
    for weight, bias in layers:
        rows = torch.as_tensor(weight, dtype=torch.float32)
        # without the usual initialisation, which draws from the global generator
        linear: nn.Linear = nn.utils.skip_init(nn.Linear, rows.shape[1], rows.shape[0])  # type: ignore[no-untyped-call]
        with torch.no_grad():
            linear.weight.copy_(rows)
            linear.bias.copy_(torch.as_tensor(bias, dtype=torch.float32))
        parts += [linear, nn.ReLU()]
    return nn.Sequential(*parts[:-1])


def digest(values: Any) -> str:
    """Of a tensor's values as float32."""
    return hashlib.sha256(values.detach().float().contiguous().numpy().tobytes()).hexdigest()[:20]


def _named(module: str, name: str) -> Any:
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found
