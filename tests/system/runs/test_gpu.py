"""The same study where an accelerator is: nobody's memory overflows, and the numbers are the CPU's."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from traced import ended, gone, study

from falsefloor.store.reader import RunReader
from falsefloor.store.run_dir import RunDir
from falsefloor.worker.launch import start
from falsefloor.worker.local import devices

pytestmark = pytest.mark.gpu

WITHIN = 1e-5
"""Relative: another device may move last bits. A discontinuous subject may move by a step: none is used."""


@pytest.fixture(autouse=True)
def cards() -> int:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    return torch.cuda.device_count()


def radii(run: RunDir) -> dict[tuple[str, int], float]:
    with RunReader(run) as reader:
        assert {e["status"] for e in reader.estimates()} == {"ok"}
        return {(e["name"], e["input"]): float(e["radius"]) for e in reader.estimates()}


def test_every_card_is_found(cards: int) -> None:
    assert devices("auto") == [f"cuda:{n}" for n in range(cards)]


def test_a_card_gives_the_numbers_of_the_cpu(mark: str, tmp_path: Path) -> None:
    given = {"maskers": ["none"], "estimators": ["clever:batches=10,samples=100"], "recover": "off"}
    runs = [start(study(device=device, **given), tmp_path)[0] for device in ("cpu", "cuda:0")]
    assert [ended(run, limit=300) for run in runs] == ["done", "done"]
    cpu, card = map(radii, runs)
    assert cpu.keys() == card.keys()
    for cell, radius in cpu.items():
        assert math.isclose(card[cell], radius, rel_tol=WITHIN), cell
    assert gone(mark)


def test_a_forward_that_does_not_fit_is_halved(cards: int) -> None:
    import torch

    from falsefloor.engine.session import Session

    session = Session(device=torch.device("cuda:0"))
    before = session.rows
    with pytest.raises(torch.OutOfMemoryError) as caught:
        torch.empty(2**50, dtype=torch.uint8, device="cuda:0")
    assert session.less_room(caught.value)
    assert session.rows == before // 2
