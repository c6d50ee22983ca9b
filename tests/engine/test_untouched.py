"""Estimators that leave something behind, in the subject or in the process: nobody else sees it."""

from __future__ import annotations

import contextlib
import decimal
import json
import locale
import os
import random
import resource
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from test_unit import estimates
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from falsefloor.api import Cancelled, Estimate, LabelledInputs, LoadedModel
from falsefloor.engine import estimate as estimate_module
from falsefloor.engine import unit as unit_module
from falsefloor.engine.context import ignore_progress
from falsefloor.engine.session import Session
from falsefloor.engine.unit import run_unit
from falsefloor.estimators.clever import Clever

POINTS = torch.rand(2, 8, generator=torch.Generator().manual_seed(0))


@dataclass(frozen=True)
class Touches:
    """An estimator that does something to what it was given, or to its process."""

    act: Any = None
    claim: ClassVar[str] = "lower_estimate"
    norms: ClassVar[frozenset[str]] = frozenset(("linf",))
    api_version: ClassVar[int] = 1

    def __call__(self, subject: Any, inputs: Tensor, labels: Tensor, /, **_: Any) -> Estimate:
        subject(inputs)
        self.act(subject)
        return Estimate(torch.full((len(inputs),), 0.01))


@dataclass
class Settings:
    gain: float = 1.0


class Bends(nn.Linear):
    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs).sin()


def shaped(logits: Tensor) -> Tensor:
    return logits


class Net(nn.Module):
    """With everything that an estimator could change, and a counter that the forward itself moves."""

    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Linear(16, 3)
        self.register_buffer("scale", torch.ones(3))
        self.gain, self.order, self.calls, self.seen = 1.0, [0, 1], 0, None
        self.settings, self.tables = Settings(), {"gains": [1.0, 2.0]}
        self.shifts, self.mean = [torch.zeros(3)], np.zeros(3, np.float32)
        self.more = [nn.Linear(3, 3)]
        generator = torch.Generator().manual_seed(1)
        for parameter in [*self.parameters(), *self.more[0].parameters()]:
            parameter.data = torch.randn(parameter.shape, generator=generator) / 4

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls += 1
        self.seen = inputs.detach()
        logits: Tensor = self.head(self.body(inputs)) * self.scale * self.gain * self.settings.gain
        logits = logits + 0.1 * self.more[0](logits) + self.shifts[0] - torch.from_numpy(self.mean)
        return shaped(logits * self.tables["gains"][0])


def session() -> Session:
    made = Session()
    loaded = LoadedModel(Net(), classes=3, input_shape=(8,))
    made.live["live:m"] = (loaded, LabelledInputs(POINTS, None))
    return made


def spec(use: str) -> dict[str, Any]:
    params = {"batches": 2, "samples": 4, "radius": 0.1} if use == "clever" else {}
    return {
        "kind": "estimate",
        "model": {"use": "live:m"},
        "stack": [],
        "norm": "linf",
        "inputs": "live:inputs",
        "chunk": [0, 2],
        "seed": 0,
        "estimator": {"use": use, "params": params, "gradient": "autograd"},
    }


@pytest.fixture(scope="module")
def touching() -> Iterator[Callable[..., dict[str, list[Any]]]]:
    """Runs an estimator that touches in a session; a name instead of what it does runs that one."""

    def run(used: Session, act: Callable[[Any], Any] | str) -> dict[str, list[Any]]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(unit_module, "fingerprint", lambda *_: "")
            if callable(act):
                patch.setattr(estimate_module, "load", lambda *_: Touches)
                patch.setattr(estimate_module, "make", lambda *_: Touches(act))
            return estimates(run_unit(spec("touches" if callable(act) else act), used, ignore_progress))

    return run


@pytest.fixture(scope="module")
def expected(touching: Callable[..., dict[str, list[Any]]]) -> dict[str, list[Any]]:
    """What an estimator that touches nothing has."""
    found = touching(session(), "clever")
    assert set(found["status"]) == {"ok"}
    return found


def net(subject: Any) -> Any:
    return subject.module


def _data(subject: Any) -> None:
    net(subject).head.weight.data.mul_(2)


def _numpy(subject: Any) -> None:
    net(subject).head.bias.detach().numpy()[0] = 3.0


def _in_place(subject: Any) -> None:
    with torch.no_grad():
        net(subject).body[0].weight[0, 0] = 7.0


def _class(subject: Any) -> None:
    nn.Linear.forward = lambda self, inputs: inputs @ self.weight.T  # type: ignore[method-assign]


def _other(self: Any, inputs: Tensor) -> Tensor:
    return inputs[:, :3]


def _functional(subject: Any) -> None:
    type(net(subject)).forward = lambda self, inputs: inputs[:, :3]  # type: ignore[method-assign]


SUBJECT: dict[str, Callable[[Any], Any]] = {
    "a weight's data": _data,
    "a weight in place": _in_place,
    "a bias through numpy": _numpy,
    "a buffer": lambda s: net(s).scale.fill_(2.0),
    "another parameter": lambda s: setattr(net(s).head, "weight", nn.Parameter(torch.ones(3, 16))),
    "another layer": lambda s: net(s).body.__setitem__(2, nn.Tanh()),
    "one layer more": lambda s: net(s).body.append(nn.Identity()),
    "a forward hook": lambda s: net(s).head.register_forward_hook(lambda _m, _i, out: out * 2),
    "a forward hook on the subject": lambda s: s.register_forward_hook(lambda _m, _i, out: out * 2),
    "a pre-hook": lambda s: net(s).body.register_forward_pre_hook(lambda _m, args: (args[0] * 0,)),
    "a backward hook": lambda s: net(s).head.register_full_backward_hook(lambda *_: None),
    "train mode": lambda s: s.train(),
    "train mode of one": lambda s: net(s).body[3].train(),
    "grad flags": lambda s: net(s).head.weight.requires_grad_(True),
    "an attribute": lambda s: setattr(net(s), "gain", 2.0),
    "a list": lambda s: net(s).order.append(2),
    "a forward of its own": lambda s: setattr(net(s), "forward", lambda inputs: inputs[:, :3]),
    "a forward of the subject": lambda s: setattr(s, "forward", lambda inputs: inputs[:, :3]),
    "a forward of a class": _functional,
    "a forward of everybody's class": _class,
    "a layer's class": lambda s: setattr(net(s).head, "__class__", Bends),
    "a layer in a list": lambda s: net(s).more[0].weight.data.mul_(3),
    "a hook of a layer in a list": lambda s: net(s).more[0].register_forward_hook(lambda _m, _i, out: -out),
    "a tensor in a list": lambda s: net(s).shifts[0].add_(torch.arange(3)),
    "an array": lambda s: net(s).mean.__setitem__(0, 3.0),
    "a table in a table": lambda s: net(s).tables["gains"].__setitem__(0, -1.0),
    "an object's attribute": lambda s: setattr(net(s).settings, "gain", -1.0),
    "a property of a class": lambda s: setattr(type(net(s)), "gain", property(lambda _: -1.0)),
    "the body of a forward": lambda s: setattr(Net.forward, "__code__", _other.__code__),
    "a function of its file": lambda s: setattr(sys.modules[__name__], "shaped", torch.neg),
    "a parametrisation": lambda s: nn.utils.parametrizations.weight_norm(net(s).head),
    "the number of classes": lambda s: setattr(s, "classes", 2),
    "every module's call": lambda _: setattr(nn.Module, "__call__", lambda self, inputs: inputs[:, :3]),
    "the bounds": lambda s: s.lower.fill_(-1.0),
    "double precision": lambda s: s.double(),
}


@pytest.mark.parametrize("how", SUBJECT)
def test_an_estimator_that_changes_the_subject_fails_its_own_estimate_alone(
    touching: Callable[..., dict[str, list[Any]]], expected: dict[str, list[Any]], how: str
) -> None:
    linear, used = nn.Linear.forward, session()
    culprit = touching(used, SUBJECT[how])
    assert set(culprit["status"]) <= {"failed"}, culprit
    assert all("touches changed the subject (" in said for said in culprit["error"])
    assert touching(used, "clever") == expected
    assert nn.Linear.forward is linear


def test_an_estimator_that_changes_the_subject_and_is_cancelled_leaves_nothing_behind(
    touching: Callable[..., dict[str, list[Any]]],
) -> None:
    used = session()
    expected = touching(used, "clever")

    def stopped(subject: Any) -> None:
        _data(subject)
        raise Cancelled

    assert touching(used, stopped)["status"] == []
    assert touching(used, "clever") == expected


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize("error", [Mute(), RuntimeError("\x1b[2J \ud800"), ValueError("x" * 10**6)])
def test_whatever_an_error_says_is_kept_as_words(
    touching: Callable[..., dict[str, list[Any]]], error: Exception
) -> None:
    def raises(_: Any) -> None:
        raise error

    found = touching(session(), raises)
    assert set(found["status"]) == {"failed"}
    for said in found["error"]:
        assert said.startswith(type(error).__name__) and said.isprintable() and len(said) < 5000
        assert said.encode()


class Moves(Net):
    """Sets a buffer of its own after some calls, as no estimator did."""

    def forward(self, inputs: Tensor) -> Tensor:
        if self.calls > 4:
            self.scale.fill_(2.0)
        return super().forward(inputs)


def test_what_a_model_changes_of_itself_is_nobodys_fault(
    touching: Callable[..., dict[str, list[Any]]],
) -> None:
    used = Session()
    used.live["live:m"] = (
        LoadedModel(Moves(), classes=3, input_shape=(8,)),
        LabelledInputs(POINTS, None),
    )

    def asks(subject: Any) -> None:
        for _ in range(8):
            subject(POINTS)

    assert set(touching(used, asks)["status"]) == {"ok"}


def _chdir(_: Any) -> None:
    os.chdir("/")


def _warnings(_: Any) -> None:
    warnings.simplefilter("ignore")


KEPT: list[Any] = []
PROCESS: dict[str, tuple[Callable[[Any], Any], Callable[[], Any]]] = {
    "default dtype": (lambda _: torch.set_default_dtype(torch.float64), torch.get_default_dtype),
    "default device": (lambda _: torch.set_default_device("meta"), lambda: torch.empty(1).device),
    "threads": (lambda _: torch.set_num_threads(3), torch.get_num_threads),
    "grad mode": (lambda _: torch.set_grad_enabled(False), torch.is_grad_enabled),
    "torch's generator": (lambda _: torch.manual_seed(7), lambda: torch.get_rng_state().tolist()),
    "numpy's generator": (lambda _: np.random.seed(7), lambda: np.random.get_state()[1].tolist()),  # type: ignore[union-attr,index]
    "random's generator": (lambda _: random.seed(7), random.getstate),
    "numpy's errors": (lambda _: np.seterr(all="ignore"), np.geterr),
    "flush to zero": (lambda _: torch.set_flush_denormal(True), lambda: float(torch.tensor(1e-40) * 1)),
    "anomaly mode": (lambda _: torch.autograd.set_detect_anomaly(True), torch.is_anomaly_enabled),
    "a function of torch": (lambda _: setattr(torch, "add", None), lambda: torch.add),
    "a method of Tensor": (
        lambda _: setattr(torch.Tensor, "add", None),
        lambda: torch.Tensor.add,
    ),
    "a function of numpy": (lambda _: setattr(np, "sum", None), lambda: np.sum),
    "a hook on every module": (
        lambda _: nn.modules.module.register_module_forward_hook(lambda *_: None),
        lambda: len(nn.modules.module._global_forward_hooks),
    ),
    "a function mode": (
        lambda _: torch.overrides.BaseTorchFunctionMode().__enter__(),
        lambda: torch._C._len_torch_function_stack(),  # type: ignore[attr-defined]
    ),
    "the folder": (_chdir, Path.cwd),
    "the environment": (lambda _: os.environ.update(LEFT="1"), lambda: os.environ.get("LEFT")),
    "the mask": (lambda _: os.umask(0o777), lambda: os.umask(os.umask(0o022))),
    "a signal": (
        lambda _: signal.signal(signal.SIGUSR1, signal.SIG_IGN),
        lambda: signal.getsignal(signal.SIGUSR1),
    ),
    "an alarm": (lambda _: signal.alarm(1000), lambda: signal.getitimer(signal.ITIMER_REAL)),
    "the recursion limit": (lambda _: sys.setrecursionlimit(300), sys.getrecursionlimit),
    "the filters of warnings": (_warnings, lambda: list(warnings.filters)),
    "stdout": (lambda _: setattr(sys, "stdout", None), lambda: sys.stdout),
    "the path": (lambda _: sys.path.insert(0, "/left"), lambda: list(sys.path)),
    "inference mode": (
        lambda _: KEPT.append(torch._C._InferenceMode(True)),  # type: ignore[attr-defined]
        torch.is_inference_mode_enabled,
    ),
    "hooks on saved tensors": (
        lambda _: torch.autograd.graph.saved_tensors_hooks(torch.neg, torch.neg).__enter__(),
        lambda: torch._C._autograd._top_saved_tensors_default_hooks(False),  # type: ignore[attr-defined]
    ),
    "a dispatch mode": (
        lambda _: TorchDispatchMode().__enter__(),
        lambda: torch._C._len_torch_dispatch_stack(),  # type: ignore[attr-defined]
    ),
    "a function of a layer's module": (
        lambda _: setattr(nn.modules.linear, "F", None),
        lambda: nn.modules.linear.F,
    ),
    "a function of Python's": (lambda _: setattr(json, "dumps", None), lambda: json.dumps),
    "what everything is closed with": (
        lambda _: setattr(contextlib, "suppress", None),
        lambda: contextlib.suppress,
    ),
    "an estimator of ours": (lambda _: setattr(Clever, "__call__", None), lambda: Clever.__call__),
    "a module": (lambda _: sys.modules.pop("json"), lambda: sys.modules.get("json")),
    "a limit": (
        lambda _: resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1])),
        lambda: resource.getrlimit(resource.RLIMIT_CORE),
    ),
    "blocked signals": (
        lambda _: signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,)),
        lambda: signal.pthread_sigmask(signal.SIG_BLOCK, ()),
    ),
    "the locale": (
        lambda _: locale.setlocale(locale.LC_ALL, "C"),
        lambda: locale.setlocale(locale.LC_ALL),
    ),
    "decimal's precision": (
        lambda _: setattr(decimal.getcontext(), "prec", 2),
        lambda: decimal.getcontext().prec,
    ),
    "a tracer": (lambda _: threading.settrace(lambda *_: None), threading.gettrace),
    "what finds modules": (lambda _: sys.meta_path.clear(), lambda: list(sys.meta_path)),
    "the kind of everything": (
        lambda _: setattr(__import__("builtins"), "isinstance", lambda *_: True),
        lambda: isinstance,
    ),
    "a builtin": (lambda _: setattr(__import__("builtins"), "abs", None), lambda: abs),
}


@pytest.mark.parametrize("what", PROCESS)
def test_what_an_estimator_sets_in_its_process_is_put_back(
    touching: Callable[..., dict[str, list[Any]]], expected: dict[str, list[Any]], what: str
) -> None:
    act, asked = PROCESS[what]
    used = session()
    before = asked()
    touching(used, act)
    now = asked()
    assert now == before
    assert touching(used, "clever") == expected


class Clings(Net):
    """Refuses to be copied: what is judged is the caller's own."""

    def __deepcopy__(self, memo: Any) -> Clings:
        return self


def test_a_callers_model_is_as_before_even_where_it_gives_itself_for_a_copy(
    touching: Callable[..., dict[str, list[Any]]],
) -> None:
    mine = Clings().train()
    mine.head.weight.requires_grad_(True)
    before = {name: one.clone() for name, one in mine.state_dict().items()}
    used = Session()
    used.live["live:m"] = (LoadedModel(mine, classes=3, input_shape=(8,)), LabelledInputs(POINTS, None))
    for how in ("a weight's data", "a buffer", "a forward hook", "an attribute", "a list"):
        touching(used, SUBJECT[how])
        assert mine.training and mine.head.weight.requires_grad
        assert not mine.head._forward_hooks and mine.gain == 1.0 and mine.order == [0, 1]
        assert all(torch.equal(one, before[name]) for name, one in mine.state_dict().items())
