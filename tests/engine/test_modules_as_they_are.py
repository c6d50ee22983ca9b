"""Modules in the state in which people hold them: judged as their plain twin is, or refused with the cure."""

from __future__ import annotations

import copy
import threading
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

import falsefloor as ff
from falsefloor.errors import UsageError

SEEDED = torch.Generator().manual_seed(5)
WEIGHT = torch.randn(3, 5, generator=SEEDED)
POINTS = 0.35 + 0.3 * torch.rand(2, 5, generator=SEEDED)
CHEAP = ["clever:batches=4,samples=16", "attack:steps=5,restarts=1,rounds=0"]


def linear() -> nn.Linear:
    layer = nn.Linear(5, 3, bias=False)
    layer.weight.data = WEIGHT.clone()
    return layer


def distances(weight: Tensor = WEIGHT) -> list[float]:
    """Of the points to the nearest other class under linf, exactly."""
    logits = POINTS @ weight.T
    top = logits.argmax(1)
    gaps = logits.gather(1, top[:, None]) - logits
    ratios = gaps / (weight[top][:, None] - weight).abs().sum(2)  # 0/0 for the class itself
    return ratios.nan_to_num(torch.inf).amin(1).tolist()


class Layered(nn.Module):
    """One linear layer in a module of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = linear()

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.layer(inputs)
        return logits


class TrainWithoutReturn(Layered):
    def train(self, mode: bool = True) -> Any:
        super().train(mode)


class EvalRefused(Layered):
    def eval(self) -> Any:
        raise NotImplementedError("not for exported programs")


class WritesIntoItsArgument(Layered):
    def forward(self, inputs: Tensor) -> Tensor:
        inputs -= 0.5
        inputs *= 2
        return super().forward(inputs / 2 + 0.5)


class KeepsItsActivations(Layered):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[dict[str, Tensor]] = []
        self(POINTS)

    def forward(self, inputs: Tensor) -> Tensor:
        logits = super().forward(inputs)
        self.seen = [{"logits": logits}]
        return logits


class HoldsALock(Layered):
    def __init__(self) -> None:
        super().__init__()
        self.lock, self.rows = threading.Lock(), (row for row in range(3))

    def forward(self, inputs: Tensor) -> Tensor:
        with self.lock:
            return super().forward(inputs)


def weight_normed() -> nn.Module:
    model = Layered()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and in use
        model.layer = nn.utils.weight_norm(model.layer)
    model(POINTS)
    return model


def compiled_forward() -> nn.Module:
    class CompiledForward(Layered):
        # here, for the compiler takes 2 s to import
        @partial(torch.compile, backend="eager")
        def forward(self, inputs: Tensor) -> Tensor:
            return super().forward(inputs)

    return CompiledForward()


def compiled_in_place(model: nn.Module) -> nn.Module:
    model.compile(backend="eager")
    return model


def fake_quantised() -> nn.Module:
    """Quantised to 8 bits as training simulates it; its observers still look."""
    from torch.ao.quantization import FakeQuantize, MovingAverageMinMaxObserver

    model = nn.Sequential(FakeQuantize(MovingAverageMinMaxObserver, quant_min=0, quant_max=255), Layered())
    model(POINTS)
    return model


def dynamically_quantised() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and in use
        made: nn.Module = torch.ao.quantization.quantize_dynamic(Layered().eval(), {nn.Linear})
    return made


def scripted(made: Callable[[nn.Module], Any]) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and in use
        found: nn.Module = made(Layered().eval())
    return found


MADE: dict[str, Callable[[], nn.Module]] = {
    "a train without return": TrainWithoutReturn,
    "an eval that raises": EvalRefused,
    "in-place writes": WritesIntoItsArgument,
    "kept activations": KeepsItsActivations,
    "a lock and a generator": HoldsALock,
    "weight norm": weight_normed,
    "scripted": lambda: scripted(torch.jit.script),
    "traced": lambda: scripted(lambda model: torch.jit.trace(model, POINTS)),
    "frozen": lambda: scripted(lambda model: torch.jit.freeze(torch.jit.script(model))),
    "data parallel": lambda: nn.DataParallel(Layered()),
    "compiled": lambda: torch.compile(Layered(), backend="eager"),
    "compiled inside": lambda: nn.Sequential(torch.compile(Layered(), backend="eager")),
    "compiled in place": lambda: compiled_in_place(Layered()),
    "a compiled forward": compiled_forward,
}


def evaluated(model: nn.Module, **options: Any) -> ff.Results:
    return ff.evaluate(model, POINTS, estimators=CHEAP, recover="off", progress=False, **options)


def floors(results: ff.Results) -> list[dict[str, Any]]:
    return [one for one in results.estimates if one["estimator"] == "clever"]


def judged(model: nn.Module, **options: Any) -> list[dict[str, Any]]:
    return floors(evaluated(model, **options))


@pytest.mark.parametrize("kind", MADE)
def test_a_module_gets_the_radii_of_its_plain_twin_and_stays_as_it_is(kind: str) -> None:
    model = MADE[kind]()
    before = copy.deepcopy({name: t.detach().clone() for name, t in model.state_dict().items()})
    trained, taken = getattr(model, "training", None), [p.requires_grad for p in model.parameters()]
    results = evaluated(model)
    assert [one["verdict"] for one in floors(results)] == ["held"] * 2
    assert [one["radius"] for one in floors(results)] == pytest.approx(distances(), rel=1e-4)
    eager = any("judged eager" in said for said in results.document["run"].get("said", ()))
    assert eager == ("compiled" in kind)
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    assert getattr(model, "training", None) == trained
    assert [p.requires_grad for p in model.parameters()] == taken


@pytest.mark.parametrize(
    "made,said", [(fake_quantised, "observers are switched off"), (dynamically_quantised, "one by one")]
)
def test_a_quantised_model_answers_as_it_does_for_one_input(made: Callable[[], nn.Module], said: str) -> None:
    results = ff.evaluate(
        made(), POINTS, estimators=["attack:steps=4,restarts=1,rounds=0"], recover="off", progress=False
    )
    assert any(said in one for one in results.document["run"]["said"])
    found = results.estimates
    assert [one["radius"] for one in found] == pytest.approx(distances(), rel=0.2)
    assert not {w["code"] for one in found for w in one["warnings"]} & {"FF105", "FF504"}


def test_pruned_weights_are_judged_as_pruned() -> None:
    model = Layered()
    prune.l1_unstructured(model.layer, "weight", 0.4)
    model(POINTS)
    assert [one["radius"] for one in judged(model)] == pytest.approx(
        distances(model.layer.weight.detach()), rel=1e-4
    )


def test_a_masker_is_put_at_a_layer_under_weight_norm() -> None:
    found = judged(weight_normed(), maskers=["staircase:c=255,at=layer"])
    assert {one["verdict"] for one in found} == {"refuted"}


def test_a_masker_inside_torchscript_is_refused_with_the_places_that_there_are() -> None:
    model = scripted(torch.jit.script)
    assert {one["verdict"] for one in judged(model, maskers=["staircase:c=255"])} == {"refuted"}
    with pytest.raises(UsageError, match=r"'layer'.*TorchScript.*input, logits or model.*nn\.Module"):
        judged(model, maskers=["staircase:c=255,at=layer"])


def test_lazy_layers_that_were_never_called_are_named() -> None:
    lazy = nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(3))
    with pytest.raises(UsageError, match=r"layers 0, 2 of the model are lazy.*Call it once"):
        judged(lazy)
    lazy(POINTS)
    assert [one["status"] for one in judged(lazy)] == ["ok"] * 2


class _Raises(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor) -> Tensor:
        return inputs.view_as(inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        raise RuntimeError("cudnn RNN backward can only be called in training mode")


class BackwardRaises(Layered):
    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(_Raises.apply(inputs))  # type: ignore[no-untyped-call]


class TakesNoGradient(Layered):
    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(torch.from_numpy(inputs.numpy().copy()))


@pytest.mark.parametrize(
    "model,said",
    [
        (BackwardRaises(), ["cudnn RNN backward can only be called", "cudnn.flags(enabled=False)"]),
        (TakesNoGradient(), ["Can't call numpy()"]),
    ],
)
def test_an_exception_in_the_way_of_the_gradient_is_quoted(model: nn.Module, said: list[str]) -> None:
    for one in judged(model):
        (message,) = [w["message"] for w in one["warnings"] if w["code"] == "FF103"]
        assert "no gradient path" not in message
        assert all(words in message for words in said)


class Uncopiable(Layered):
    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        raise TypeError("cannot pickle a socket")


class Exits(Layered):
    def forward(self, inputs: Tensor) -> Tensor:
        raise SystemExit(3)


@pytest.mark.parametrize(
    "model,complaint",
    [(Uncopiable(), "cannot pickle a socket.*outside the module"), (Exits(), "SystemExit: 3")],
)
def test_what_cannot_be_judged_is_refused_and_never_leaves_as_it_was_raised(
    model: nn.Module, complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint):
        judged(model)
