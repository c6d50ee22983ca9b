"""What an estimate cost does not depend on the inputs beside it, and nobody's word is taken for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from falsefloor.api import Estimate
from falsefloor.engine import estimate as estimate_module
from falsefloor.engine.context import ignore_progress
from falsefloor.engine.contract import queries
from falsefloor.engine.session import Session
from falsefloor.engine.unit import run_unit
from falsefloor.store.records import EstimateResult

QUICK: dict[str, dict[str, Any]] = {
    "clever": {"batches": 4, "samples": 5},
    "finite-difference": {"batches": 1, "samples": 2},
    "attack": {"steps": 4, "restarts": 1, "rounds": 1, "targets": 3, "directions": 16, "samples": 8},
}
STACKS: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "staircase": [{"use": "staircase", "at": "input", "params": {"c": 64}}],
}


def spec(
    use: str, params: dict[str, Any], stack: str, chunk: tuple[int, int], gradient: str
) -> dict[str, Any]:
    return {
        "kind": "estimate",
        "model": {"use": "digits:mlp"},
        "stack": STACKS[stack],
        "norm": "linf",
        "inputs": "digits:0-9",
        "chunk": list(chunk),
        "seed": 0,
        "estimator": {"use": use, "params": params, "gradient": gradient},
    }


def in_chunks(
    session: Session, size: int, *, use: str, stack: str, gradient: str = "autograd"
) -> list[EstimateResult]:
    """Three digits, ``size`` at a time; each unit's own total is the sum of its estimates."""
    rows: list[EstimateResult] = []
    for start in range(0, 3, size):
        chunk = start, min(start + size, 3)
        result = run_unit(spec(use, QUICK[use], stack, chunk, gradient), session, ignore_progress)
        assert result.status == "ok", result.error
        rows += result.estimates
    return rows


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("use", QUICK)
def test_an_inputs_queries_are_its_own_in_every_chunk(use: str, stack: str) -> None:
    session = Session()
    found = {size: in_chunks(session, size, use=use, stack=stack) for size in (1, 3)}
    costs = {size: [(row.forward, row.backward) for row in rows] for size, rows in found.items()}
    assert costs[1] == costs[3]
    # a misclassified digit is asked for nothing
    assert sum(forward > 0 for forward, _ in costs[3]) >= 2
    radii = {size: [row.radius for row in rows] for size, rows in found.items()}
    assert radii[1] == radii[3]


def test_a_repaired_gradients_queries_are_counted_for_their_input_too() -> None:
    session = Session()
    alone = in_chunks(session, 1, use="clever", stack="staircase", gradient="straight-through")
    together = in_chunks(session, 3, use="clever", stack="staircase", gradient="straight-through")
    assert [(row.forward, row.backward) for row in alone] == [(row.forward, row.backward) for row in together]
    assert len({row.backward for row in together}) > 1


def test_the_account_is_not_stored_as_evidence() -> None:
    (row,) = in_chunks(Session(), 3, use="clever", stack="none")[:1]
    assert not any(name.startswith("queries") for name in row.evidence)


@dataclass(frozen=True)
class Claims:
    """Says what it likes of its queries: one forward an input is the truth."""

    told: tuple[float, ...]
    api_version: ClassVar[int] = 1
    claim: ClassVar[str] = "lower_estimate"
    norms: ClassVar[frozenset[str]] = frozenset({"linf"})

    def __call__(
        self, subject: Any, inputs: Tensor, labels: Tensor, /, *, norm: str, context: Any
    ) -> Estimate:
        subject(inputs)
        evidence = {"queries_forward": torch.tensor(self.told)}
        return Estimate(torch.full((len(inputs),), 0.01), evidence)


@pytest.mark.parametrize(
    ("told", "stored"),
    [
        ((0.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0), [0, 2, 1, 1, 1, 1, 1, 1, 1, 1]),
        ((0.0,) * 10, [1] * 10),
        ((20.0, -10.0, *(0.0,) * 8), [1] * 10),
        ((0.5, 1.5, *(1.0,) * 8), [1] * 10),
        ((float("nan"),) * 10, [1] * 10),
    ],
)
def test_an_account_counts_only_where_it_adds_up(
    told: tuple[float, ...], stored: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate_module, "load", lambda *_: Claims)
    monkeypatch.setattr(estimate_module, "make", lambda *_: Claims(told))
    result = run_unit(spec("clever", {}, "none", (0, 10), "autograd"), Session(), ignore_progress)
    assert result.status == "ok", result.error
    assert [row.forward for row in result.estimates] == stored


def test_without_an_account_the_whole_is_divided() -> None:
    estimate = Estimate(torch.zeros(3))
    assert queries(estimate, forward=10, backward=6, count=3) == [(3, 2)] * 3
