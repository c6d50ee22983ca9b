"""`reproduce`: the note's figures as data and pictures, and what is said where pictures cannot be drawn."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from falsefloor.engine import reproduce as measured
from falsefloor.report import figures

Command = Callable[..., Any]


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_figure_one_is_the_notes_staircase_and_its_ramp(tmp_path: Path) -> None:
    rows = read(measured.steps().write(tmp_path))
    assert {row["view"] for row in rows} == {"whole", "zoom", "closer"}
    assert {float(row["staircase_slope"]) for row in rows} == {0.0}
    assert {round(float(row["ramp_slope"]), 9) for row in rows} == {0.0, 5.0}
    for row in rows:
        t, stairs, ramp = float(row["t"]), float(row["staircase"]), float(row["ramp"])
        assert t - 1e-9 <= stairs <= t + 1 / 255 + 1e-9
        assert t - 1e-9 <= ramp <= t + 0.8 / 255 + 1e-9
        assert ramp <= stairs + 1e-9
    rising = [row for row in rows if row["view"] == "zoom" and float(row["ramp_slope"]) > 0]
    assert len(rising) / 601 == pytest.approx(0.2, abs=0.05)


def predicted(margin: float, slopes: torch.Tensor, *, count: int, delta: float) -> float:
    return measured._predicted(margin, measured._tail(slopes, delta=delta), count=count)


def test_a_ramp_is_predicted_in_both_regimes() -> None:
    slopes = torch.ones(1, 64, dtype=torch.float64)
    assert predicted(1.0, slopes, count=100, delta=1e-7) == measured.RADIUS
    # one coordinate on a ramp of share 1e-3 is 1,000 times too steep; two at once are rarer than one in 100
    assert predicted(1.0, slopes, count=100, delta=1e-3) == pytest.approx(1e-3, rel=0.01)
    # a ramp of share 1 is the identity: all 64 coordinates count
    assert predicted(1.0, slopes, count=100, delta=1.0) == pytest.approx(1 / 64, rel=0.01)


def test_the_prediction_is_the_median_of_what_flipped_coins_give() -> None:
    generator = torch.Generator().manual_seed(0)
    slopes = torch.rand(4, 16, generator=generator, dtype=torch.float64)
    count, delta = 50, 0.05
    scores = []
    for _ in range(400):
        rows = slopes[torch.randint(0, 4, (count,), generator=generator)]
        hits = torch.rand(count, 16, generator=generator) < delta
        scores.append(0.1 / float((rows * hits).sum(1).max() / delta))
    middle = sorted(scores)[200]
    assert predicted(0.1, slopes, count=count, delta=delta) == pytest.approx(middle, rel=0.05)


def test_the_sigmoid_underflows_in_float32_where_it_does_not_in_float64() -> None:
    rows = {float(t): (low, high, exact) for t, low, high, exact in measured.underflow().rows}
    low, high, exact = rows[-100.0]
    assert low == 0.0
    assert high == pytest.approx(exact)
    low, high, exact = rows[20.0]
    assert low == 0.0
    assert high == pytest.approx(exact, rel=1e-6)
    low, high, exact = rows[-5.0]
    assert low == pytest.approx(exact, rel=1e-5)
    assert high == pytest.approx(exact, rel=1e-12)


def test_casts_hide_their_steps_from_autograd_and_not_from_differences() -> None:
    rows = measured.casts().rows
    finest = {name: slope for name, h, slope, _ in reversed(rows)}
    levels = {name: level for name, _, _, level in rows}
    assert finest["bfloat16"] == finest["float8_e4m3fn"] == finest["uint8"] == 0.0
    assert levels["uint8"] == 0.0
    for name in ("float16", "bfloat16", "float8_e4m3fn"):
        assert levels[name] == pytest.approx(float(levels["none"]), rel=0.02)


@pytest.mark.slow
def test_a_staircase_makes_clever_claim_its_radius_and_leaves_the_distance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("falsefloor.engine.reproduce.DIGITS", 1)
    ((_, exact, clever, masked, attack, radius),) = measured.claims().rows
    assert float(clever) < float(exact) < float(masked) == float(radius) == measured.RADIUS
    assert abs(float(attack) - float(exact)) <= 1 / 255 + 1e-3


def test_a_gradient_may_be_noise_or_point_the_wrong_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("falsefloor.engine.reproduce.DIGITS", 1)
    rows = {str(row[0]): row for row in measured.directions().rows}
    told = {mask: float(row[2]) for mask, row in rows.items()}
    assert told["none"] > 0.95 and abs(told["noisy"]) < 0.5 and told["misdirected"] < -0.9
    assert float(rows["noisy"][3]) < float(rows["none"][3]) / 10
    assert float(rows["misdirected"][3]) == measured.RADIUS > float(rows["misdirected"][4])


@pytest.fixture
def small_tables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The two tables that take no time, and a folder that does not exist yet."""
    folder = tmp_path / "made" / "figures"
    for name in ("steps", "underflow"):
        folder.mkdir(parents=True, exist_ok=True)
        measured.TABLES[name]().write(folder)
    return folder


def test_a_picture_is_drawn_in_both_formats_and_twice_the_same(small_tables: Path) -> None:
    pytest.importorskip("matplotlib")
    for name in ("steps", "underflow"):
        made = figures.draw(small_tables / f"{name}.csv")
        assert [path.suffix for path in made] == [".svg", ".png"]
        first = made[0].read_bytes()
        assert first.startswith(b"<?xml")
        figures.draw(small_tables / f"{name}.csv")
        assert made[0].read_bytes() == first


def test_every_table_has_a_picture() -> None:
    assert set(figures.FIGURES) == set(measured.TABLES)


def test_a_file_in_the_place_of_the_directory_is_refused(command: Command, tmp_path: Path) -> None:
    (tmp_path / "figures").write_text("in the way")
    ended = command("reproduce", "--out", tmp_path / "figures")
    assert ended.code == 2
    assert "is a file" in ended.err


@pytest.mark.slow
def test_the_command_writes_everything_and_lists_it(command: Command, tmp_path: Path) -> None:
    out = tmp_path / "figures"
    ended = command("reproduce", "--out", out, "--json")
    assert ended.code == 0
    document = json.loads(ended.out)
    assert document["schema"] == "falsefloor.figures/1"
    assert {Path(name).name for name in document["files"]} >= {f"{name}.csv" for name in measured.TABLES}
    rows = read(out / "regimes.csv")
    hidden = [row for row in rows if float(row["n_d_delta"]) < 0.05]
    met = [row for row in rows if float(row["n_d_delta"]) > 2]
    assert sum(float(row["measured"]) == measured.RADIUS for row in hidden) >= 0.9 * len(hidden)
    near = [abs(math.log(float(row["measured"]) / float(row["predicted"]))) < math.log(2) for row in met]
    assert sum(near) >= 0.9 * len(near)
