"""A plugin of any kind may decline in words: what it was asked for is skipped, the rest goes on."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from plugin_site import Install
from torch import nn

import falsefloor as ff
from falsefloor.api import Facts, Record
from falsefloor.checks.judge import judge
from falsefloor.maskers.staircase import Staircase
from falsefloor.plugins.judging import RunJudge
from falsefloor.subjects.compose import compose

HEAD = """
from dataclasses import dataclass
from typing import ClassVar
from falsefloor.api import CodeInfo, Estimate, Finding, NotApplicable, option
"""
PLUGINS = HEAD + textwrap.dedent('''
    @dataclass(frozen=True)
    class Half:
        """Declines the inputs whose first coordinate is above a half, after it has done the others."""
        api_version, claim, norms = 1, "lower_estimate", frozenset({"linf"})
        most: float = option(0.5, help="declines above")

        def __call__(self, subject, inputs, labels, /, *, norm, context):
            for at, row in enumerate(inputs):
                if float(row.flatten()[0]) > self.most:
                    raise NotApplicable(f"the first coordinate {float(row.flatten()[0]):.2g} is too large")
                context.progress(at + 1, len(inputs))
            return Estimate(radius=inputs.new_full((len(inputs),), 0.001))

    @dataclass(frozen=True)
    class Mute:
        api_version, claim, norms = 1, "lower_estimate", frozenset({"linf"})
        def __call__(self, subject, inputs, labels, /, *, norm, context):
            raise NotApplicable

    @dataclass(frozen=True)
    class OnlyConv:
        api_version: ClassVar[int] = 1
        def __call__(self, part, /):
            raise NotApplicable("this mask needs a convolution\\x1b[31m")

    @dataclass(frozen=True)
    class NoWay:
        api_version: ClassVar[int] = 1
        def __call__(self, subject, /):
            raise NotApplicable("no way back through this subject")

    class Shy:
        api_version = 1
        codes = {"shy": CodeInfo("shy", "note", "s", "c", "w")}
        def __call__(self, facts, /):
            raise NotApplicable("not my estimator")

    @dataclass(frozen=True)
    class Away:
        api_version: ClassVar[int] = 1
        def __call__(self, ref, /):
            raise NotApplicable(f"{ref} needs an accelerator")
''')
GROUPS = {
    "estimators": {"half": "shy_pack:Half", "mute": "shy_pack:Mute"},
    "maskers": {"only-conv": "shy_pack:OnlyConv"},
    "gradients": {"no-way": "shy_pack:NoWay"},
    "checks": {"shy": "shy_pack:Shy"},
    "models": {"away": "shy_pack:Away"},
}


@pytest.fixture
def shy(install: Install, cache: Path) -> None:
    install("shy-pack", PLUGINS, **GROUPS)


def _model() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3))


def _inputs() -> torch.Tensor:
    rows = torch.full((4, 4), 0.5)
    rows[:, 0] = torch.tensor([0.1, 0.9, 0.2, 0.8])
    return rows


def _evaluate(**chosen: Any) -> list[dict[str, Any]]:
    asked = {
        "estimators": ["half", "attack:steps=4,restarts=1,rounds=0"],
        "recover": "off",
        "progress": False,
    }
    return ff.evaluate(_model(), _inputs(), **{**asked, **chosen}).estimates


def _of(rows: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["estimator"].startswith(name)]


def test_an_estimator_may_decline_some_inputs_after_it_has_done_others(shy: None) -> None:
    rows = _of(_evaluate(), "half")
    assert [row["status"] for row in rows] == ["ok", "skipped", "ok", "skipped"]
    assert rows[1]["error"] == "the first coordinate 0.9 is too large"
    assert rows[1]["radius"] is None


def test_one_that_says_nothing_is_said_to_say_nothing(shy: None) -> None:
    rows = _of(_evaluate(estimators=["mute", "attack:steps=4,restarts=1,rounds=0"]), "mute")
    assert {row["error"] for row in rows} == {"mute declines and does not say why"}


def test_a_masker_that_declines_skips_its_own_subject_and_no_other(shy: None) -> None:
    rows = _evaluate(maskers=["none", "only-conv"])
    plain = [row for row in rows if row["masker"] == "none" and row["estimator"] == "attack"]
    masked = [row for row in rows if row["masker"] == "only-conv"]
    assert {row["status"] for row in plain} == {"ok"}
    assert {row["status"] for row in masked} == {"skipped"}
    assert masked[0]["error"] == "this mask needs a convolution\\x1b[31m"


def test_a_gradient_source_that_declines_skips_the_estimate(shy: None) -> None:
    rows = _evaluate(
        estimators=["clever:gradient=no-way,samples=2,batches=2", "attack:steps=4,restarts=1,rounds=0"]
    )
    assert {row["error"] for row in _of(rows, "clever")} == {"no way back through this subject"}


def test_a_check_that_declines_finds_nothing_and_counts_as_none(shy: None) -> None:
    facts = Facts("linf", Record("mine", "lower_estimate", "autograd", 0.1), [], {"seen": True})
    with RunJudge() as judging:
        with_it = judging(facts, ())
    without = judge(facts, list(judging._own))
    assert with_it == without


def test_a_source_that_declines_alone_is_an_error_in_its_words(shy: None, tmp_path: Path) -> None:
    from falsefloor.engine.session import Session

    answer = Session().ready({"use": "away:moon"}, "digits:0-1", [])
    assert answer["declined"]
    assert answer["error"] == "moon needs an accelerator"


def test_a_certificate_can_walk_the_composition() -> None:
    stair = Staircase(c=4)
    module = compose(_model(), [(stair, "input"), (stair, "1"), (stair, "logits")])
    assert [place for _, place in module.placed] == ["input", "1", "logits"]  # type: ignore[union-attr]
    names = [name for name, _ in module.named_children()]
    assert names == ["input", "model", "logits"]
