"""What a plugin may offer: files, what it learns, confidence, another function, columns, axes."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from plugin_site import Install, Installing
from torch import nn

import falsefloor as ff
from falsefloor.engine.session import Session
from falsefloor.plugins import catalogue
from falsefloor.study.units import changes, claimed, fingerprint

SOURCE = textwrap.dedent('''
    import os
    from dataclasses import dataclass
    from typing import ClassVar
    import torch
    from torch import nn
    from falsefloor.api import Axes, Estimate, option

    NORMS = frozenset({"linf", "l2"})

    class Near(nn.Module):
        def __init__(self, part, codes):
            super().__init__()
            self.part = part
            self.register_buffer("codes", codes)
        def forward(self, inputs):
            out = self.part(inputs)
            return out + 0 * self.codes.sum()

    @dataclass(frozen=True)
    class Learner:
        """Learns the mean of the inputs."""
        api_version: ClassVar[int] = 1
        wrong: str = option("", help="what to get wrong")
        learnt: ClassVar[object] = None
        def calibrate(self, inputs, context):
            if self.wrong == "nothing":
                return None
            if self.wrong == "stateless":
                return lambda part: nn.Sequential(part)
            codes = inputs.mean(0).clone()
            return lambda part: Near(part, codes)
        def __call__(self, part, /):
            return part

    @dataclass(frozen=True)
    class Table:
        """Reads a file."""
        api_version, claim, norms = 1, "lower_bound", NORMS
        axes = {"walk": Axes("A walk", "step", "height")}
        columns = {"height": "height, in feet"}
        path: str = option("", help="the file")
        wrong: str = option("", help="what to get wrong")
        def files(self):
            return [self.path] if self.path else []
        def __call__(self, subject, inputs, labels, /, *, norm, context):
            n = len(inputs)
            context.logger.info("asked for %d", n)
            more = {
                "sure": {"confidence": torch.full((n,), 1.5)},
                "unsure": {"confidence": -0.1},
                "per": {"per_target": inputs.new_full((n + 1, 3), 1.0)},
                "above": {"per_target": inputs.new_full((n, 3), 1e-6)},
                "column": {"evidence": {"height": inputs.new_zeros(n + 1)}},
                "many": {"evidence": {f"e{i}": inputs.new_zeros(n) for i in range(300)}},
                "million": {"curves": {"walk": torch.zeros(n, 1_000_000)}},
                "fine": {"confidence": 0.999, "per_target": inputs.new_full((n, 3), 0.5)},
            }.get(self.wrong, {})
            return Estimate(radius=inputs.new_full((n,), 1e-3), **more)

    @dataclass(frozen=True)
    class Smoothed:
        """Of a smoothed function."""
        api_version, claim, norms = 1, "lower_bound", NORMS
        memory = 4.0
        def describe_subject(self):
            return "the subject under Gaussian noise, sigma 0.25"
        def __call__(self, subject, inputs, labels, /, *, norm, context):
            return Estimate(radius=inputs.new_full((len(inputs),), float(context.rows)))

    @dataclass(frozen=True)
    class Search:
        """An upper bound that finds nothing."""
        api_version, claim, norms = 1, "upper_bound", NORMS
        def __call__(self, subject, inputs, labels, /, *, norm, context):
            return Estimate(radius=inputs.new_full((len(inputs),), torch.inf), witness=inputs.clone())
''')
GROUPS = {
    "maskers": {"learner": "opt_pack:Learner"},
    "estimators": {"table": "opt_pack:Table", "smoothed": "opt_pack:Smoothed", "search": "opt_pack:Search"},
}
ATTACK = "attack:steps=4,restarts=1,rounds=0"


@pytest.fixture
def optional(install: Install, cache: Path) -> None:
    install("opt-pack", SOURCE, **GROUPS)


def _model() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3))


def _evaluate(*estimators: str, inputs: torch.Tensor | None = None, **chosen: Any) -> list[dict[str, Any]]:
    points = torch.full((2, 4), 0.5) if inputs is None else inputs
    asked = {"recover": "off", "progress": False, **chosen}
    return ff.evaluate(_model(), points, estimators=[*estimators, ATTACK], **asked).estimates


def _first(rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(row for row in rows if row["estimator"] == name)


WRONG = {
    "sure": "confidence [1.5",
    "unsure": "confidence [-0.1",
    "per": "per_target (2, 3)",
    "above": "above its own radius to one class",
    "column": "evidence 'height' that is not one value",
    "many": "300 evidence",
}


@pytest.fixture(scope="module")
def offered(installing: Installing) -> dict[str, dict[str, Any]]:
    """All that these estimators offer in one study, by their names there: the first input's estimate."""
    tables = [f"table:wrong={word}" for word in (*WRONG, "million", "fine")]
    with installing() as install:
        install("opt-pack", SOURCE, **GROUPS)
        rows = _evaluate(*tables, "table:gradient=secant", "table:path=/nowhere.txt", "smoothed")
    return {row["name"]: row for row in reversed(rows)}


@pytest.mark.parametrize(("wrong", "said"), WRONG.items())
def test_what_an_estimate_offers_wrongly_fails_it_in_words(
    offered: dict[str, dict[str, Any]], wrong: str, said: str
) -> None:
    row = offered[f"table:wrong={wrong}"]
    assert row["status"] == "failed"
    assert said in row["error"]


def test_a_curve_of_a_million_points_is_thinned_to_what_is_kept(offered: dict[str, dict[str, Any]]) -> None:
    row = offered["table:wrong=million"]
    assert row["status"] == "ok"
    assert row["curves"] == ["walk"]


def test_confidence_and_radii_by_class_are_stored(offered: dict[str, dict[str, Any]]) -> None:
    row = offered["table:wrong=fine"]
    assert row["evidence"]["confidence"] == 0.999
    assert row["curves"] == ["per_target"]


def test_a_claim_about_another_function_is_labelled_and_never_refuted_by_the_subject(
    offered: dict[str, dict[str, Any]],
) -> None:
    row = offered["smoothed"]
    assert row["claim"] == "lower_estimate"
    assert row["radius"] > 100
    assert row["verdict"] == "unchecked"
    assert row["reason"] == "about another function: the subject under Gaussian noise, sigma 0.25"
    assert row["evidence"]["about"] == "the subject under Gaussian noise, sigma 0.25"


def test_a_memory_hint_divides_the_rows_of_a_forward(offered: dict[str, dict[str, Any]]) -> None:
    assert offered["smoothed"]["radius"] == Session().rows // 4


def test_a_search_that_finds_nothing_does_not_take_our_attack_away(optional: None) -> None:
    points = torch.full((1, 4), 0.5)
    rows = ff.evaluate(_model(), points, estimators=["table", "search"], progress=False).estimates
    assert {row["estimator"] for row in rows} == {"table", "search", "attack"}
    alone = ff.evaluate(_model(), points, estimators=["search"], ceiling=False, progress=False).estimates
    assert {row["estimator"] for row in alone} == {"search"}


def test_through_a_surrogate_gradient_no_claim_stays_a_proof(offered: dict[str, dict[str, Any]]) -> None:
    assert claimed("lower_bound", "autograd") == "lower_bound"
    assert claimed("lower_bound", "auto") == "lower_estimate"
    assert claimed("upper_bound", "secant") == "upper_bound"
    assert offered["table:gradient=secant"]["claim"] == "lower_estimate"


def test_a_strangers_false_proof_is_refuted(optional: None, install: Install) -> None:
    install("liar-pack", SOURCE.replace("1e-3", "0.9"), estimators={"liar": "liar_pack:Table"})
    row = _first(_evaluate("liar"), "liar")
    assert row["claim"] == "lower_bound"
    assert row["verdict"] == "refuted"
    assert {"FF203", "FF204"} & {warning["code"] for warning in row["warnings"]}


def test_columns_and_axes_are_described(optional: None) -> None:
    row = catalogue([("estimator", "table")]).find("estimator", "table")
    assert row.columns == {"height": "height, in feet"}
    assert row.axes["walk"].y == "height"


def test_a_masker_learns_from_the_inputs_and_what_it_learnt_is_its_identity(optional: None) -> None:
    def learnt(ref: str) -> dict[str, Any]:
        answer = Session().ready(
            {"use": "digits:linear"}, ref, [[{"use": "learner", "at": "input", "params": {"wrong": ""}}]]
        )
        found: dict[str, Any] = answer["fingerprint"]
        return found

    first, again, other = learnt("digits:0-2"), learnt("digits:0-2"), learnt("digits:3-5")
    assert first == again
    assert changes(first, {**first, "plugins": other["plugins"]}) == ["what masker learner learnt"]


@pytest.mark.parametrize("wrong", ["nothing", "stateless"])
def test_what_is_learnt_must_be_something_that_is_kept(optional: None, wrong: str) -> None:
    layer = {"use": "learner", "at": "input", "params": {"wrong": wrong}}
    answer = Session().ready({"use": "digits:linear"}, "digits:0-2", [[layer]])
    assert "learn" in answer["error"] or "calibrate" in answer["error"]


def test_nothing_can_be_learnt_where_no_input_lies_in_the_domain(optional: None) -> None:
    layer = {"use": "learner", "at": "input", "params": {"wrong": ""}}
    answer = Session().ready({"use": "digits:linear", "bounds": [0.9, 0.95]}, "digits:0-2", [[layer]])
    assert answer["error"] == "learner learns from inputs, and none lies inside the domain."


def test_a_file_that_a_plugin_names_is_its_identity(optional: None, tmp_path: Path) -> None:
    path = tmp_path / "table.txt"
    path.write_text("one")
    params = {"path": str(path), "wrong": ""}
    part = {"kind": "estimator", "use": "table", "params": params}

    def found() -> dict[str, Any]:
        told: dict[str, Any] = Session().ready({"use": "digits:linear"}, "digits:0-2", [part])["fingerprint"]
        return told

    spec = {"stack": [], "estimator": {"use": "table", "params": params, "gradient": "autograd"}}
    other = {**spec, "estimator": {**spec["estimator"], "use": "clever", "params": {}}}
    before = found()
    path.write_text("two")
    after = found()
    assert changes(before, after) == [f"the file {path} of estimator table:path={path}"]
    assert fingerprint(spec, before) != fingerprint(spec, after)
    assert fingerprint(other, before) == fingerprint(other, after)


def test_a_missing_file_fails_the_estimate_that_names_it(offered: dict[str, dict[str, Any]]) -> None:
    row = offered["table:path=/nowhere.txt"]
    assert row["status"] == "failed"
    assert "'/nowhere.txt', which is no file" in row["error"]
