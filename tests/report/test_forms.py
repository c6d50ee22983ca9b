"""The forms a run is exported in: nothing in them executes, and nothing is lost."""

from __future__ import annotations

import csv
import io
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_run import STUDY, sample

from falsefloor.report.changes import compare_runs
from falsefloor.report.detail import numbers
from falsefloor.report.forms import COLUMNS, markdown, safe, write_csv
from falsefloor.report.markup import markdown as escaped
from falsefloor.report.pictures import ascii_levels, half_blocks, picture, png
from falsefloor.store.reader import RunReader
from falsefloor.store.records import Array
from falsefloor.study.study import ModelSpec


def test_the_csv_has_a_line_an_estimate_and_keeps_numbers(tmp_path: Path) -> None:
    file = io.StringIO()
    with RunReader(sample(tmp_path)) as reader:
        write_csv(reader.estimates(), file)
    lines = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert len(lines) == 27 and set(COLUMNS) < set(lines[0])
    refuted = [line for line in lines if line["verdict"] == "refuted"]
    assert len(refuted) == 3 and float(refuted[0]["radius"]) == 1.0
    assert refuted[0]["warnings"].startswith("FF201")


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=40))
def test_no_csv_cell_is_a_formula(words: str) -> None:
    shown = safe(words)
    assert isinstance(shown, str)
    assert shown.lstrip()[:1] not in ("=", "+", "-", "@")
    assert "\n" not in shown and "\x1b" not in shown


def test_a_negative_number_stays_a_number_in_the_csv() -> None:
    assert safe(-0.5) == -0.5 and safe(None) == ""


def test_markdown_has_the_table_and_the_refutations(tmp_path: Path) -> None:
    with RunReader(sample(tmp_path)) as reader:
        text = markdown(reader)
    assert "| digits:mlp | staircase:c=255 | linf |" in text
    assert "- **digits:mlp · staircase:c=255 · linf · clever**" in text
    assert len({line.count(" | ") for line in text.splitlines() if line.startswith("|")}) == 1


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40))
def test_other_peoples_words_are_no_markdown(words: str) -> None:
    bare = escaped(words)
    for sign in "\\`*_{}[]()#<>|~&!$":
        bare = bare.replace(f"\\{sign}", "")
    assert not set(bare) & set("`*_[]<>|#\n")


def decode(data: bytes) -> tuple[int, int, bytes]:
    """Width, height and rows of an 8-bit RGB PNG, checksums verified."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, parts = 8, {}
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + size]
        (checksum,) = struct.unpack(">I", data[at + 8 + size : at + 12 + size])
        assert checksum == zlib.crc32(kind + body)
        parts[kind] = body
        at += 12 + size
    wide, tall = struct.unpack(">II", parts[b"IHDR"][:8])
    return wide, tall, zlib.decompress(parts[b"IDAT"])


def test_a_picture_is_a_png_of_its_pixels() -> None:
    wide, tall, rows = decode(png([[[0.0, 1.0, 0.5], [2.0, -1.0, float("nan")]]]))
    assert (wide, tall) == (3, 2)
    assert rows == b"\0" + bytes([0] * 3 + [255] * 3 + [128] * 3) + b"\0" + bytes([255] * 3 + [0] * 6)


def test_a_colour_picture_keeps_its_planes() -> None:
    _, _, rows = decode(png([[[1.0]], [[0.0]], [[0.2]]]))
    assert rows == b"\0\xff\0\x33"


def test_half_blocks_show_two_rows_a_line_and_ascii_one() -> None:
    picture = [[[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]]]
    assert len(half_blocks(picture)) == 2
    assert [line.plain for line in ascii_levels(picture)] == ["  @@", "@@  ", "++++"]


def test_what_is_no_picture_is_not_drawn() -> None:
    assert picture([0.0] * 60, (60,)) is None and picture([], (8, 8)) is None
    assert numbers(None) == () and numbers(Array("complex64", (1,), b"\0" * 8)) == ()


def test_stored_values_are_scaled_by_the_domain() -> None:
    seen = picture(numbers(Array("float32", (1, 1, 2), struct.pack("<2f", -1.0, 1.0))), (1, 2, 2))
    assert seen is None
    image = picture(numbers(Array("float16", (2, 2), struct.pack("<4e", -1.0, 1.0, 0.0, 3.0))), (2, 2))
    assert image is not None and image.planes(-1, 1) == [[[0.0, 1.0], [0.5, 1.0]]]


def test_equal_runs_show_no_change_and_a_worse_model_shows_it(tmp_path: Path) -> None:
    first, same, worse = sample(tmp_path), sample(tmp_path), sample(tmp_path, factor=0.5)
    with RunReader(first) as one, RunReader(same) as two, RunReader(worse) as three:
        equal, other = compare_runs(one, two), compare_runs(one, three)
    assert not any(change.changed for change in equal.changes) and len(equal.changes) == 9
    held = next(c for c in other.changes if (c.masker, c.estimator) == ("none", "clever"))
    assert held.ratio == pytest.approx(0.5) and held.apart == 3 and held.kept == 3


def test_models_of_other_names_are_compared_where_each_run_has_one(tmp_path: Path) -> None:
    trained = replace(STUDY, models=(ModelSpec("digits:mlp", label="trained"),))
    with RunReader(sample(tmp_path)) as one, RunReader(sample(tmp_path, study=trained)) as two:
        found = compare_runs(one, two)
    assert len(found.changes) == 9 and found.changes[0].model == "digits:mlp > trained"


def test_cells_of_one_run_alone_are_listed(tmp_path: Path) -> None:
    fewer = replace(STUDY, maskers=STUDY.maskers[:1])
    with RunReader(sample(tmp_path)) as one, RunReader(sample(tmp_path, study=fewer)) as two:
        found = compare_runs(one, two)
    assert len(found.changes) == 3 and len(found.only_first) == 6 and found.only_second == ()
