"""A run's figures as files: what is drawn, the same bytes every time, what is said without matplotlib."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from sample_run import sample

from falsefloor.errors import UsageError
from falsefloor.report.run_figures import write_figures
from falsefloor.store.reader import RunReader


def test_a_run_is_one_comparison_and_a_figure_for_every_curve_worth_it(tmp_path: Path) -> None:
    with RunReader(sample(tmp_path)) as reader:
        written = write_figures(reader, tmp_path / "figures", kind="svg")
        curves = sum(bool(record["curves"]) for record in reader.estimates())
    assert written[0].name == "comparison.svg" and 1 < len(written) <= curves + 1
    assert all(set(path.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789.=_-") for path in written)
    comparison = written[0].read_text(encoding="utf-8")
    assert ElementTree.fromstring(comparison).tag.endswith("svg")
    for word in ("staircase:c=255", "attack", "refuted", "radius"):
        assert word in comparison


@pytest.mark.slow
def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    with RunReader(sample(tmp_path)) as reader:
        first, second = (
            write_figures(reader, tmp_path / name, kind="svg")[0].read_bytes() for name in ("one", "two")
        )
    assert first == second


@pytest.mark.slow
def test_a_png_is_a_picture(tmp_path: Path) -> None:
    with RunReader(sample(tmp_path)) as reader:
        written = write_figures(reader, tmp_path / "figures", kind="png")
    assert written[0].read_bytes().startswith(b"\x89PNG") and written[0].stat().st_size > 5_000


def test_a_folder_that_cannot_be_written_and_a_missing_library_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with RunReader(sample(tmp_path)) as reader:
        with pytest.raises(UsageError, match="cannot write figures to"):
            write_figures(reader, tmp_path / "file", kind="svg")
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        with pytest.raises(UsageError, match=r"falsefloor\[report\]"):
            write_figures(reader, tmp_path / "figures", kind="svg")
