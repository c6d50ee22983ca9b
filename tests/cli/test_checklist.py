"""`diagnose --checklist`: what a reviewer asks, as a run measured it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from commands import Command
from stored_run import stored

from falsefloor.report.checklist import ITEMS, _Seen


@pytest.fixture
def told(command: Command, store: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Masker to item to what is said of it."""
    stored(store)
    document = json.loads(command("diagnose", "last", "--checklist", "--json").out)
    assert document["schema"] == "falsefloor.checklist/1"
    return {one["masker"]: {item["name"]: item for item in one["items"]} for one in document["subjects"]}


def test_a_masked_model_fails_where_its_gradient_misleads(told: dict[str, dict[str, dict[str, Any]]]) -> None:
    bare, masked = told["none"], told["staircase:c=255"]
    for name in ("black-box is no better than white-box", "the gradient agrees with differences"):
        assert (bare[name]["status"], masked[name]["status"]) == ("passed", "failed")
    held = masked["every claim is held against the nearest known point"]
    assert held["status"] == "failed" and "contradicted by a verified point" in held["evidence"]


def test_what_was_not_run_is_not_measured_and_says_how(told: dict[str, dict[str, dict[str, Any]]]) -> None:
    more = told["none"]["more steps and restarts do not help"]
    assert more["status"] == "not measured"
    assert "--estimator attack:steps=80,restarts=16" in more["command"] and "digits:39-42" in more["command"]
    assert all(item["blind"] and item["command"] for item in told["none"].values()) and len(told["none"]) == 8


def test_nothing_is_passed_for_lack_of_evidence() -> None:
    empty = _Seen(set(), {}, {}, {}, [], {}, {}, set())
    assert [ask(empty)[0] for _, ask, _, _ in ITEMS] == ["not measured"] * 8


@pytest.mark.parametrize(("after", "status"), [(1.0, "passed"), (0.985, "passed"), (0.9, "failed")])
def test_a_larger_budget_that_helps_fails_its_item(after: float, status: str) -> None:
    both = {320: dict.fromkeys(range(10), 0.1), 5120: dict.fromkeys(range(10), 0.1 * after)}
    seen = _Seen(set(range(10)), both, {}, {}, [], {}, {}, set())
    (ask,) = (ask for name, ask, _, _ in ITEMS if name.startswith("more steps"))
    assert ask(seen)[0] == status and "16 times" in ask(seen)[1]


def test_it_is_printed_for_an_appendix(command: Command, store: Path) -> None:
    stored(store)
    assert "| item | result |" in command("diagnose", "last", "--checklist", "--format", "md").out
    latex = command("diagnose", "last", "--checklist", "--format", "tex").out
    assert r"\toprule" in latex and r"p{0." in latex and "_" not in latex.replace(r"\_", "")
    shown = command("diagnose", "last", "--checklist").out
    assert "Cannot show" in shown
    assert "falsefloor run --model digits:mlp" in shown.replace(" \\\n      ", " ")
    refused = command("diagnose", "last", "--checklist", "--seed", "3")
    assert refused.code == 2


def test_a_run_is_exported_for_a_paper(command: Command, store: Path, tmp_path: Path) -> None:
    stored(store)
    assert "@software{falsefloor" in command("export", "--format", "bib").out
    assert "seed 0" in command("export", "--format", "methods").out
    both = command("compare", "last", "last", "--at", "0.08", "-o", tmp_path / "curves.svg")
    assert both.code == 0 and "+0 -0" in both.out and (tmp_path / "curves.svg").stat().st_size > 1000
    document = json.loads(command("compare", "last", "last", "--at", "0.08", "--json").out)
    assert {"gained", "lost", "interval", "before", "after"} <= set(document["accuracy"][0])
    assert document["changes"][0]["difference"] == 0.0 and document["notes"] == []
