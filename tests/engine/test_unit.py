"""One unit, with every kind of bad model, bad input and bad plugin that it must survive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from falsefloor.api import Cancelled, Estimate, LabelledInputs, LoadedModel
from falsefloor.engine import estimate as estimate_module
from falsefloor.engine import observe as observe_module
from falsefloor.engine import unit as unit_module
from falsefloor.engine.context import ignore_progress
from falsefloor.engine.session import Session
from falsefloor.engine.unit import run_unit
from falsefloor.store.records import UnitResult, pack, unpack
from falsefloor.subjects.observe import observe

POINTS = torch.rand(6, 4, generator=torch.Generator().manual_seed(0))


class Linear(nn.Module):
    """Class 0 where the first coordinate is above one half."""

    def forward(self, inputs: Tensor) -> Tensor:
        first = inputs[:, 0] - 0.5
        return torch.stack([first, -first], dim=1)


def session_of(module: nn.Module, *, points: Tensor = POINTS, labels: Tensor | None = None) -> Session:
    session = Session()
    loaded = LoadedModel(module, classes=2, input_shape=(4,))
    session.live["live:m"] = (loaded, LabelledInputs(points, labels))
    return session


def spec(use: str = "clever", **params: Any) -> dict[str, Any]:
    given = {"batches": 2, "samples": 4, "radius": 0.1} if use == "clever" else {}
    return {
        "kind": "estimate",
        "model": {"use": "live:m"},
        "stack": [],
        "norm": "linf",
        "inputs": "live:inputs",
        "chunk": [0, 6],
        "seed": 0,
        "estimator": {"use": use, "params": {**given, **params}, "gradient": "autograd"},
    }


def estimates(result: UnitResult) -> dict[str, list[Any]]:
    return {
        name: [getattr(e, name) for e in result.estimates] for name in ("status", "radius", "error", "notes")
    }


def test_a_result_survives_the_wire() -> None:
    result = run_unit(spec(), session_of(Linear()), ignore_progress)
    assert [e.status for e in result.estimates] == ["ok"] * 6
    assert pack(unpack(pack(result))) == pack(result)
    assert [e.radius for e in unpack(pack(result)).estimates] == [e.radius for e in result.estimates]


def test_a_misclassified_input_has_radius_zero_and_says_why() -> None:
    labels = (POINTS[:, 0] <= 0.5).long()
    labels[2] = 1 - labels[2]
    got = estimates(run_unit(spec(), session_of(Linear(), labels=labels), ignore_progress))
    assert got["radius"][2] == 0.0
    assert got["notes"][2][0][0] == "FF601"
    assert all(radius > 0 for n, radius in enumerate(got["radius"]) if n != 2)


def test_inputs_outside_the_domain_fail_alone() -> None:
    points = POINTS.clone()
    points[1, 3], points[4, 0] = 1.5, float("nan")
    got = estimates(run_unit(spec(), session_of(Linear(), points=points), ignore_progress))
    assert [n for n, status in enumerate(got["status"]) if status == "failed"] == [1, 4]
    assert "FF602" in got["error"][1]
    assert "--bounds" in got["error"][1]


class Broken(Linear):
    """Raises or answers NaN where the last coordinate of an input is exactly 1."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def forward(self, inputs: Tensor) -> Tensor:
        bad = inputs[:, 3] == 1
        if self.how == "raise" and bad.any():
            raise ValueError("no such token")
        logits: Tensor = super().forward(inputs)
        return torch.where(bad[:, None], torch.nan, logits)


@pytest.mark.parametrize(("how", "says"), [("raise", "no such token"), ("nan", "FF403")])
def test_a_model_that_fails_on_one_input_costs_that_input_only(how: str, says: str) -> None:
    points = POINTS.clone()
    points[3, 3] = 1.0
    result = run_unit(spec(), session_of(Broken(how), points=points), ignore_progress)
    got = estimates(result)
    assert got["status"].count("failed") == 1
    assert says in got["error"][3]


@dataclass(frozen=True)
class Plugin:
    """An estimator whose every move is a function."""

    claim: ClassVar[str] = "lower_estimate"
    norms: ClassVar[frozenset[str]] = frozenset(("linf",))
    api_version: ClassVar[int] = 1


def with_plugin(
    monkeypatch: pytest.MonkeyPatch,
    call: Callable[..., Any],
    *,
    claim: str = "lower_estimate",
    module: nn.Module | None = None,
) -> UnitResult:
    kind = type("Made", (Plugin,), {"claim": claim, "__call__": lambda self, *a, **k: call(*a, **k)})
    monkeypatch.setattr(estimate_module, "load", lambda *_: kind)
    monkeypatch.setattr(unit_module, "fingerprint", lambda *_: "")
    monkeypatch.setattr(estimate_module, "make", lambda *_: kind())
    return run_unit(spec("made"), session_of(module or Linear()), ignore_progress)


def radius(count: int, value: float = 0.1) -> Tensor:
    return torch.full((count,), value)


LIES: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "not an estimate": (lambda x: radius(len(x)), "returned Tensor"),
    "wrong shape": (lambda x: Estimate(torch.ones(len(x), 2)), "one floating point number"),
    "NaN": (lambda x: Estimate(radius(len(x), float("nan"))), "NaN"),
    "negative": (lambda x: Estimate(radius(len(x), -1.0)), "negative"),
    "infinite floor": (lambda x: Estimate(radius(len(x), float("inf"))), "infinite"),
    "mutated inputs": (lambda x: Estimate(radius(len(x.add_(0.1)))), "changed the inputs"),
    "bad evidence": (lambda x: Estimate(radius(len(x)), evidence={"a": torch.ones(2, 3)}), "evidence 'a'"),
    "bad curve": (lambda x: Estimate(radius(len(x)), curves={"a": torch.ones(99, 3)}), "curve 'a'"),
    "bad witness": (lambda x: Estimate(radius(len(x)), witness=torch.ones(len(x), 2)), "a witness"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_estimator_is_caught(monkeypatch: pytest.MonkeyPatch, lie: str) -> None:
    answer, says = LIES[lie]
    result = with_plugin(monkeypatch, lambda subject, x, y, **_: answer(x))
    assert {e.status for e in result.estimates} == {"failed"}
    assert says in str(result.estimates[0].error)


def test_an_upper_bound_needs_a_witness(monkeypatch: pytest.MonkeyPatch) -> None:
    result = with_plugin(monkeypatch, lambda s, x, y, **_: Estimate(radius(len(x))), claim="upper_bound")
    assert "without a witness" in str(result.estimates[0].error)


def test_an_upper_bound_whose_witness_does_not_hold_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    result = with_plugin(
        monkeypatch, lambda s, x, y, **_: Estimate(radius(len(x)), witness=x.clone()), claim="upper_bound"
    )
    assert [e.radius for e in result.estimates] == [float("inf")] * 6
    assert {e.notes[0][0] for e in result.estimates} == {"FF504"}
    assert {e.evidence["unsettled"] for e in result.estimates} == {1.0}, "so that FF501 is not told as well"


def test_an_upper_bound_below_its_witness_is_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def lie(_subject: Any, x: Tensor, _labels: Tensor, **_: Any) -> Estimate:
        other = x.clone()
        other[:, 0] = 1.0 - x[:, 0]
        return Estimate(radius(len(x), 1e-9), witness=other)

    result = with_plugin(monkeypatch, lie, claim="upper_bound")
    for row, point in zip(result.estimates, POINTS, strict=True):
        assert row.radius == pytest.approx(abs(1 - 2 * float(point[0])), rel=2e-3)
        assert row.arrays["witness"].facts["distance"] == row.radius


class Turning(nn.Module):
    """As `Linear`, until it is told to answer a little differently."""

    shift = 0.0

    def forward(self, inputs: Tensor) -> Tensor:
        first = inputs[:, 0] - 0.5
        return torch.stack([first + self.shift, -first], dim=1)


@pytest.mark.parametrize(("shift", "codes"), [(1e-3, {"FF105"}), (0.0, set())])
def test_a_subject_that_answers_otherwise_after_the_estimate_is_told(
    monkeypatch: pytest.MonkeyPatch, shift: float, codes: set[str]
) -> None:
    def patches(_subject: Any, x: Tensor, _labels: Tensor, **_: Any) -> Estimate:
        monkeypatch.setattr(Turning, "shift", shift)
        return Estimate(radius(len(x)))

    result = with_plugin(monkeypatch, patches, module=Turning())
    assert {code for e in result.estimates for code, _ in e.notes} == codes
    assert {e.status for e in result.estimates} == {"ok"}


def test_an_estimator_that_raises_on_one_input_fails_there_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def moody(_subject: Any, x: Tensor, _labels: Tensor, **_: Any) -> Estimate:
        if (x[:, 1] == POINTS[2, 1]).any():
            raise RuntimeError("not this one")
        return Estimate(radius(len(x)))

    got = estimates(with_plugin(monkeypatch, moody))
    assert got["status"] == ["ok", "ok", "failed", "ok", "ok", "ok"]
    assert "not this one" in got["error"][2]
    assert "test_unit.py" in got["error"][2], "the place in the plugin is named"


def test_out_of_memory_halves_the_rows_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def hungry(_subject: Any, x: Tensor, _labels: Tensor, *, context: Any, **_: Any) -> Estimate:
        tried.append(context.rows)
        if context.rows > 1000:
            raise torch.OutOfMemoryError("no room")
        return Estimate(radius(len(x)))

    result = with_plugin(monkeypatch, hungry)
    assert tried == [4096, 2048, 1024, 512]
    assert {e.status for e in result.estimates} == {"ok"}


def test_what_never_fits_fails_with_a_clear_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(*_: Any, **__: Any) -> Estimate:
        raise torch.OutOfMemoryError("no room")

    result = with_plugin(monkeypatch, greedy)
    assert "out of memory with one row a forward" in str(result.estimates[0].error)


def test_cancelling_is_not_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def cancelled(*_: Any, **__: Any) -> Estimate:
        raise Cancelled

    assert with_plugin(monkeypatch, cancelled).status == "cancelled"


def test_a_norm_that_is_not_supported_is_skipped_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = type("Made", (Plugin,), {"norms": frozenset(("l2",))})
    monkeypatch.setattr(estimate_module, "load", lambda *_: kind)
    monkeypatch.setattr(unit_module, "fingerprint", lambda *_: "")
    got = estimates(run_unit(spec("made"), session_of(Linear()), ignore_progress))
    assert set(got["status"]) == {"skipped"}
    assert "does not support the norm linf" in got["error"][0]


def test_the_inputs_of_a_unit_do_not_decide_each_others_numbers() -> None:
    whole = run_unit(spec(), session_of(Linear()), ignore_progress)
    for number in range(6):
        single = run_unit({**spec(), "chunk": [number, number + 1]}, session_of(Linear()), ignore_progress)
        assert single.estimates[0].radius == whole.estimates[number].radius
        assert repr(single.estimates[0].evidence) == repr(whole.estimates[number].evidence)


def test_an_observation_that_does_not_fit_is_made_again_with_fewer_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = []

    def hungry(*args: Any, rows: int, **options: Any) -> Any:
        tried.append(rows)
        if rows > 1000:
            raise torch.OutOfMemoryError("no room")
        return observe(*args, rows=rows, **options)

    monkeypatch.setattr(observe_module, "observe", hungry)
    asked = {key: value for key, value in spec().items() if key != "estimator"}
    result = run_unit({**asked, "kind": "observe"}, session_of(Linear()), ignore_progress)
    assert result.status == "ok"
    assert tried == [4096, 2048, 1024, 512]


def test_eight_bit_inputs_are_observed_with_their_grey_level() -> None:
    session = session_of(Linear())
    loaded, inputs = session.live["live:m"]
    session.live["live:m"] = (replace(loaded, units="pixel, 8-bit"), inputs)
    asked = {key: value for key, value in spec().items() if key != "estimator"}
    result = run_unit({**asked, "kind": "observe"}, session, ignore_progress)
    assert {seen.facts["grey_level"] for seen in result.observations} == {1 / 255}
