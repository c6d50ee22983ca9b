"""What other people's plugins find and say stands beside ours, and outlives their packages."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from plugin_site import Install, Installing
from rich.console import Console
from torch import nn

import falsefloor as ff
from falsefloor.checks.catalogue import CATALOGUE
from falsefloor.cli import explain as command
from falsefloor.errors import UsageError
from falsefloor.report.comparison import read_comparison
from falsefloor.report.detail import read_detail
from falsefloor.report.figure import own
from falsefloor.report.forms import markdown
from falsefloor.report.page import page
from falsefloor.report.refutations import read_kinds
from falsefloor.report.summary import Summary
from falsefloor.tui.words import explained

SOURCE = textwrap.dedent('''
    from dataclasses import dataclass
    from typing import ClassVar
    import torch
    from falsefloor.api import Axes, CodeInfo, Estimate, Finding, option

    class Nearer:
        """Refutes a floor by a nearer witness, and doubts every number."""
        api_version = 1
        codes = {
            "NEARER": CodeInfo("a nearer point", "refuted", "s", "c", "w", page="One.\\n\\n<b>Two</b> *x*."),
            "DOUBT": CodeInfo("a doubt", "suspect", "sum", "cure", "src", page="x" * 50_000),
        }
        def __call__(self, facts, /):
            yield Finding("DOUBT", "suspect", "<script>alert(1)</script> | doubted")
            for other in facts.others:
                if other.claim == "upper_bound" and other.witness and other.radius < facts.judged.radius:
                    yield Finding("NEARER", "refuted", "a point lies nearer", {}, other.witness)

    @dataclass(frozen=True)
    class Bold:
        """A certificate that claims too much, with a curve and a column."""
        api_version, claim, norms = 1, "lower_bound", frozenset({"linf"})
        columns = {"height": "height <b>"}
        axes = {"walk": Axes("A <b>walk</b>", "step", "height", log_y=True)}
        def __call__(self, subject, inputs, labels, /, *, norm, context):
            n = len(inputs)
            return Estimate(
                radius=inputs.new_full((n,), 0.9),
                evidence={"height": inputs.new_full((n,), 3.5)},
                curves={"walk": torch.linspace(0.1, 5, 100_000).expand(n, -1)},
                confidence=0.99,
                per_target=inputs.new_full((n, 3), 0.95),
            )
''')


def package(install: Install, dist: str) -> None:
    module = dist.replace("-", "_")
    install(dist, SOURCE, checks={f"{dist}-check": f"{module}:Nearer"}, estimators={dist: f"{module}:Bold"})


@pytest.fixture(scope="module")
def results(installing: Installing) -> ff.Results:
    """Of a study with a package that is gone again."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    names = ["seen-pack", "attack:steps=4,restarts=1,rounds=0"]
    with installing() as install:
        package(install, "seen-pack")
        return ff.evaluate(model, torch.full((2, 4), 0.5), estimators=names, progress=False)


def printed(renderable: Any) -> str:
    console = Console(width=110, file=None, record=True)
    with console.capture() as captured:
        console.print(renderable)
    return captured.get()


def test_a_strangers_findings_stand_beside_ours_in_every_form_refuted_first(results: ff.Results) -> None:
    with results.reader() as reader:
        kinds = read_kinds(reader)
        shown = printed(Summary(reader.info(), read_comparison(reader), (), tuple(kinds)))
        written, painted = markdown(reader), page(reader)
    severities = [one.severity for one in kinds]
    assert severities == sorted(severities, key=["refuted", "suspect", "vacuous", "error", "note"].index)
    codes = {one.code: one.name for one in kinds}
    assert codes["seen-pack:NEARER"] == "a nearer point"
    assert {"FF203", "FF204"} & set(codes)
    for text in (shown, written, painted):
        assert "seen-pack:NEARER" in text.replace("\\", "")
        assert "a nearer point" in text
        assert "seen-pack:DOUBT" in text.replace("\\", "")
    assert "<script>" not in painted
    assert "\\<script\\>" in written


def test_a_strangers_proof_is_shown_with_whose_word_it_is_and_its_confidence(results: ff.Results) -> None:
    with results.reader() as reader:
        words = read_comparison(reader).words
        shown = printed(Summary(reader.info(), read_comparison(reader)))
    assert words[0] == "seen-pack: certified on the word of seen-pack 1.0, challenged here and not proven"
    assert words[1] == "seen-pack: each claim holds with probability 0.99, all 2 with 0.9801"
    assert "on the word of seen-pack" in " ".join(shown.split())


def test_a_strangers_curve_and_column_are_drawn_by_our_painters(results: ff.Results) -> None:
    with results.reader() as reader:
        series = next(one.id for one in reader.series() if one.label == "seen-pack")
        detail = read_detail(reader, series, 0)
        painted = page(reader)
    titles = [figure.title for figure in own(detail)]
    assert titles == ["A <b>walk</b>", "The radius to each class"]
    assert max(len(figure.curves[0].x) for figure in own(detail)) <= 1024
    assert "height &lt;b&gt;" in painted
    assert "A &lt;b&gt;walk" in painted


def test_the_app_explains_a_code_whose_package_is_gone(results: ff.Results) -> None:
    with results.reader() as reader:
        lines = [text for text, _ in explained("seen-pack:NEARER", others=reader.codes())]
        longest = reader.codes()["seen-pack:DOUBT"].page
    assert lines[0] == "seen-pack:NEARER a nearer point"
    assert "<b>Two</b> *x*." in lines
    assert len(longest) < 21_000


def test_explain_lists_others_codes_and_a_short_one_names_the_whole(
    install: Install, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package(install, "seen-pack")
    package(install, "other-pack")
    command.explain(None, as_json=True)
    out = capsys.readouterr().out
    assert '"seen-pack:NEARER"' in out
    assert '"other-pack:NEARER"' in out
    assert all(f'"{code}"' in out for code in CATALOGUE)
    command.explain("seen-pack:NEARER", as_json=False)
    assert "<b>Two</b> *x*." in capsys.readouterr().out
    with pytest.raises(UsageError, match="write other-pack:NEARER or seen-pack:NEARER"):
        command.explain("nearer", as_json=False)
