"""The HTML page of a run: the worst is drawn first, nothing in it executes, nothing is made up."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jinja2
import pytest
from sample_run import STUDY, sample

from falsefloor.checks.verdicts import rank
from falsefloor.report import page as page_module
from falsefloor.report.comparison import read_comparison
from falsefloor.report.forms import table_html
from falsefloor.report.page import page
from falsefloor.store.reader import RunReader
from falsefloor.store.records import ObservationResult
from falsefloor.study.study import ModelSpec

HOSTILE = "<script>alert(1)</script>\"'=cmd|\x1b[31m\u202e{{ 7*7 }}"


class Tags(HTMLParser):
    """All tags and attributes of a page; every tag that needs it is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "br", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def made(root: Path, **settings: Any) -> str:
    with RunReader(sample(root, **settings)) as reader:
        return page(reader)


def drawn(text: str) -> list[str]:
    """The verdict and subject of everything with pictures, in the page's order."""
    found = re.findall(r'<details class="drawn[ "].*?<summary>(.*?)</summary>', text, re.DOTALL)
    return [re.sub(r"<[^>]*>", "", one) for one in found]


def test_the_page_holds_everything_and_fetches_nothing(tmp_path: Path) -> None:
    text = made(tmp_path)
    tags = Tags(text)
    assert not tags.open
    assert "script" not in {tag for tag, _ in tags.seen}
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in text
    for _, attributes in tags.seen:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href"):
            assert (attributes.get(name) or "data:").startswith("data:")
    words = " ".join(tags.words)
    for told in (
        "staircase:c=255",
        "REFUTED",
        "FF201",
        "0.0980",
        "falsefloor run --model",
        "torch",
        "2a289c16",
    ):
        assert told in words


def test_the_worst_of_the_whole_run_is_drawn_first(tmp_path: Path) -> None:
    shown = [one.split(" ")[0].lower() for one in drawn(made(tmp_path, inputs=12))]
    assert shown == sorted(shown, key=rank) and len(shown) == 40
    assert (shown.count("refuted"), shown.count("suspect")) == (12, 12)


def test_paper_leaves_out_further_inputs_of_an_estimate_and_says_how_many(tmp_path: Path) -> None:
    text = made(tmp_path, inputs=12)
    again, everything = text.count('<details class="drawn again"'), len(drawn(text))
    assert f"{again} more are on the page" in text and everything - again == 9, "a series each"


def test_what_is_drawn_shows_the_input_and_what_contradicts_it(tmp_path: Path) -> None:
    text = made(tmp_path, inputs=1)
    first = text[text.index('<details class="drawn"') :].split("</details>")[0]
    captions = [words["alt"] for tag, words in Tags(first).seen if tag == "img"]
    assert captions == ["input, class 4", "adversarial, class 7, at 0.0775"]
    assert "REFUTED" in first and "FF201 the claim is 1, but attack has" in first and "cap 1, capped" in first


def test_pictures_end_where_the_page_would_grow_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_module, "LARGEST_DRAWN", 40_000)
    assert 0 < len(drawn(made(tmp_path))) < 10


@pytest.mark.parametrize("grey", [None, 1 / 255])
def test_a_grey_level_is_told_only_where_an_input_has_one(tmp_path: Path, grey: float | None) -> None:
    def seen(masker: str, found: ObservationResult) -> ObservationResult:
        # the first is outside the domain: nothing was looked at there
        facts = {**found.facts, "grey_level": grey} if grey and found.input else found.facts
        return replace(found, facts=facts)

    text = made(tmp_path, seen=seen)
    assert ("One level of an 8-bit image is 0.0039" in text) == (grey is not None)


def test_evidence_is_written_without_what_does_not_apply_and_without_python() -> None:
    facts: Mapping[str, object] = {"a": math.nan, "b": math.inf, "c": "no spread", "d": 0.00012, "e": True}
    told = [("b", "inf"), ("c", "no spread"), ("d", "1.2e-4"), ("e", "yes")]
    assert list(page_module._evidence(facts)) == told


def test_a_hostile_name_is_text_on_the_page(tmp_path: Path) -> None:
    study = replace(STUDY, models=(ModelSpec("digits:mlp", label=HOSTILE),))
    with RunReader(sample(tmp_path, study=study, notes=[("FF504", HOSTILE)])) as reader:
        whole, fragment = page(reader), table_html(read_comparison(reader))
    for text in (whole, fragment):
        assert "<script" not in text and "\x1b" not in text and "\u202e" not in text
        assert "alert(1)" in text and "{{ 7*7 }}" in text


def test_the_template_escapes_everything_and_guesses_nothing() -> None:
    template = page_module._template()
    assert template.environment.autoescape is True
    assert template.environment.undefined is jinja2.StrictUndefined
    with pytest.raises(jinja2.UndefinedError):
        template.render()
    source = (Path(page_module.__file__).parent / "templates" / "page.html.j2").read_text(encoding="utf-8")
    assert not re.search(r"\|\s*safe|autoescape", source)


def test_a_page_of_a_thousand_estimates_stays_small(tmp_path: Path) -> None:
    text = made(tmp_path, inputs=112)
    assert len(text.encode()) < 5_000_000
    assert text.count('<tr><td class="n" data-head="input">') == 112 * 9


def test_of_a_large_run_the_first_inputs_of_every_series_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_module, "ROWS", 18)
    text = made(tmp_path)
    assert text.count('<tr><td class="n" data-head="input">') == 18
    assert "9 more are not drawn" in text and "9 more estimates: <code>falsefloor export" in text


def test_nothing_that_makes_pages_is_loaded_before_one_is_asked_for() -> None:
    program = "import sys, falsefloor.report.page; print('jinja2' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_nothing_is_folded_away_in_print_and_no_verdict_is_a_colour_alone(tmp_path: Path) -> None:
    text = made(tmp_path)
    assert len(re.findall(r"<details[^>]*>", text)) == len(re.findall(r"<details[^>]* open>", text)) > 9
    (table,) = re.findall(r'<table class="falsefloor.*?</table>', text, re.DOTALL)
    heads = re.findall(r"<th[^>]*>([^<]*)</th>", table)
    assert heads[3] == "verdict" and set(re.findall(r'data-head="([^"]*)"', table)) == set(heads)
    for number in re.findall(r"<span style=[^>]*>[≥≳][^<]*</span>(.*?)</td>", table):
        assert re.match(r"<br><small>(refuted|suspect|vacuous)</small>", number)


def test_no_fact_is_told_that_does_not_apply(tmp_path: Path) -> None:
    words = " ".join(Tags(made(tmp_path)).words)
    assert not re.search(r"\b(nan|None|fit_shape|frozenset|array\()\b", words)
    assert "digest of its bounds" in words
