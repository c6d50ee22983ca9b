"""docs/limits.md, number by number: what the checks cannot see, and what floats do below 1e-6."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from needle import RADIUS, Needle, near
from torch import Tensor

import falsefloor as ff
from falsefloor.models.digits import DigitsModel, load_split

PAGE = (Path(__file__).parents[2] / "docs" / "limits.md").read_text(encoding="utf-8")
IMAGES, LABELS = load_split(held_out=True)
DISTANCE = 0.05


def told(pattern: str) -> list[str]:
    """What the page says in the place that the pattern describes."""
    found = re.search(pattern, PAGE, re.DOTALL)
    assert found is not None, pattern
    return list(found.groups())


def test_the_needle_is_held_though_the_claim_is_false_and_the_words_say_how_little_that_means() -> None:
    x, y = IMAGES[:1], LABELS[:1]
    model = Needle(DigitsModel()("mlp").module, near(x[0], DISTANCE))
    inside = model.point[None]
    with torch.no_grad():
        assert int(model(inside).argmax()) != int(y), "the needle is there"
    assert float((inside - x).abs().max()) == pytest.approx(DISTANCE)
    results = ff.evaluate(model, x, y, estimators=["clever", "attack"], progress=False)
    clever, attack = list(results.estimates)
    assert clever["radius"] > DISTANCE + RADIUS, "the claim is false"
    assert attack["radius"] > DISTANCE + RADIUS, "and the attack does not know"
    assert clever["verdict"] == "held"
    assert re.fullmatch(r"\d+ checks, [\d,]+ queries", clever["reason"])
    claim, checks, queries = told(r"claims\s+(\d\.\d+).*?held: (\d+) checks, ([\d,]+)\s+queries")
    assert float(claim) == pytest.approx(clever["radius"], rel=0.01)
    ran, _, spent, _ = clever["reason"].replace(",", "").split()
    assert int(ran) == int(checks)
    # an estimator may learn to ask less or more without the page being wrong about what it is about
    assert int(spent) == pytest.approx(int(queries.replace(",", "")), rel=0.5)
    for word in ("safe", "robust", "certified"):
        assert word not in clever["reason"]


def slopes(h: float, dtype: torch.dtype) -> tuple[float, float]:
    """The median dual norm over 32 points near a digit, and the share of coordinates that show no change."""
    module = DigitsModel()("mlp").module.to(dtype)
    x = IMAGES[0]
    with torch.no_grad():
        label, rival = DigitsModel()("mlp").module(x[None])[0].topk(2).indices.tolist()
    drawn = torch.rand(32, *x.shape, generator=torch.Generator().manual_seed(0))
    points = (x + 0.1 * (2 * drawn - 1)).clamp(0.02, 0.98).to(dtype)
    step = h * torch.eye(x.numel(), dtype=dtype)

    def margin(flat: Tensor) -> Tensor:
        with torch.no_grad():
            logits = module(flat.reshape(-1, *x.shape))
        return (logits[:, label] - logits[:, rival]).double()

    change = torch.stack([margin(p.flatten() + step) - margin(p.flatten() - step) for p in points])
    norms = change.abs().sum(1) / (2 * h)
    return float(norms.sort().values[16]), float((change == 0).double().mean())


ROWS = re.findall(r"^\| (\de-\d+) \| ([\d.]+) \| (\d+) % \| ([\d.]+) \|$", PAGE, re.MULTILINE)


def test_the_page_has_the_spectrum() -> None:
    assert [float(row[0]) for row in ROWS] == [1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 3e-8, 1e-8, 1e-9]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_an_unmasked_float32_model_is_a_staircase_of_its_own(row: tuple[str, str, str, str]) -> None:
    h = float(row[0])
    norm, flat = slopes(h, torch.float32)
    # rounding in the last place differs between machines; where the norm is rounding, it is a rough number
    assert norm == pytest.approx(float(row[1]), rel=0.01 if h >= 1e-5 else 0.3)
    assert 100 * flat == pytest.approx(float(row[2]), abs=3.0)
    exact, _ = slopes(h, torch.float64)
    assert exact == pytest.approx(float(row[3]), rel=1e-3)
