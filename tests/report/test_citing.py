"""What a paper takes from a run: a paragraph, entries and tables, with everybody's words escaped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sample_run import sample

from falsefloor.report import markup
from falsefloor.report.comparison import read_comparison
from falsefloor.report.forms import bibtex, latex, markdown, methods
from falsefloor.report.page import page
from falsefloor.report.refutations import read_refutations
from falsefloor.store.reader import RunReader


@pytest.fixture
def reader(tmp_path: Path) -> RunReader:
    return RunReader(sample(tmp_path))


def test_the_methods_name_every_estimator_with_its_parameters(reader: RunReader) -> None:
    told = methods(reader.info(), reader.series())
    assert "in ℓ∞ with falsefloor" in told and "seed 0" in told
    assert "clever (batches 50, samples 20" in told and "finite-difference (" in told
    assert "held is no proof" in told


def test_only_the_papers_that_were_used_are_cited(reader: RunReader) -> None:
    told = bibtex(reader.info())
    assert "@software{falsefloor" in told and "weng2018clever" in told and "tjeng2019mip" not in told
    assert told.count("{") == told.count("}")


def test_the_table_is_latex_that_closes_with_every_row_as_wide_as_its_head(reader: RunReader) -> None:
    lines = latex(read_comparison(reader)).splitlines()
    rows = [line for line in lines if line.endswith(r"\\")]
    assert len(rows) == 4 and len({row.count(" & ") for row in rows}) == 1
    assert lines[-1] == r"\end{tabular}" and any(r"$\geq$1.0000$^\times$" in row for row in rows)
    assert any("refuted FF201" in row for row in rows)


def test_latex_is_given_no_command_of_strangers() -> None:
    assert markup.latex(r"\input{x}_%") == r"\textbackslash{}input\{x\}\_\%"


def test_every_form_says_how_a_refutation_is_replayed(reader: RunReader) -> None:
    (command, *_) = [one.replay(reader.info().id) for one in read_refutations(reader)]
    assert command.startswith(f"falsefloor replay {reader.info().id} ") and len(command.split()) == 4
    assert f"`{command}`" in markdown(reader) and f"<code>{command}</code>" in page(reader)


def test_nobody_can_replay_what_was_live(reader: RunReader) -> None:
    one = next(iter(read_refutations(reader)))
    assert one.replay("in-process") == "" and replace(one, distance=None).replay("5f") == ""
