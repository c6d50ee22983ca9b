"""The Python API takes what the field's own libraries take, and gives back what they work with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import falsefloor as ff
from falsefloor.api import Estimate
from falsefloor.errors import StoreError, UsageError
from falsefloor.models.digits import DigitsModel, load_split
from falsefloor.plugins.names import LIVE

CHEAP = "attack:restarts=1,steps=5"
MODEL = DigitsModel()("linear").module
INPUTS, LABELS = (part[:2] for part in load_split(held_out=True))
ONE: dict[str, Any] = {"inputs": INPUTS[:1], "labels": LABELS[:1]}


@dataclass(frozen=True)
class Half:
    """Half of a length, and nothing else."""

    api_version: ClassVar[int] = 1
    claim: ClassVar[str] = "lower_estimate"
    norms: ClassVar[frozenset[str]] = frozenset(("l1", "l2", "linf"))
    length: float = 0.0002

    def __call__(
        self, subject: Any, inputs: Tensor, labels: Tensor, /, *, norm: str, context: Any
    ) -> Estimate:
        return Estimate(radius=torch.full((len(inputs),), self.length / 2))


class Quantise(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return torch.round(inputs * 255) / 255


def judged(**given: Any) -> ff.Results:
    asked = {"model": MODEL, "inputs": INPUTS, "labels": LABELS, "estimators": CHEAP, "progress": False}
    return ff.evaluate(**{**asked, "ceiling": False, "recover": "off", **given})


@pytest.fixture(scope="module")
def results() -> ff.Results:
    return judged(
        maskers=["none", "staircase:c=16"],
        estimators=[ff.estimators.Clever(radius=0.3, batches=5, box=False, directed=False), CHEAP],
    )


@pytest.mark.parametrize(
    ("given", "named"),
    [(2, "l2"), (np.inf, "linf"), (torch.inf, "linf"), (1, "l1"), (np.int64(2), "l2"), (2.0, "l2")],
)
def test_numpys_orders_name_norms(given: Any, named: str) -> None:
    assert {record["norm"] for record in judged(norm=given, estimators=Half, **ONE)} == {named}


def test_several_norms_may_be_mixed() -> None:
    seen = judged(norm=["linf", 2, np.inf][:2], estimators=Half(), **ONE)
    assert {record["norm"] for record in seen} == {"linf", "l2"}


@pytest.mark.parametrize(("given", "told"), [(3, "no norm '3'"), ("L2", "Did you mean 'l2'"), (True, "norm")])
def test_what_is_no_norm_is_said(given: Any, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        judged(norm=given)


def test_one_word_is_one_estimator() -> None:
    seen = judged(estimators=CHEAP, maskers="none", **ONE)
    assert {record["estimator"] for record in seen} == {"attack"}


def test_an_object_of_an_installed_class_is_that_plugin_with_its_parameters(results: ff.Results) -> None:
    (name,) = {record["name"] for record in results if record["estimator"] == "clever"}
    assert name == "clever:batches=5,radius=0.3,box=false,directed=false"
    masked = judged(maskers=[ff.maskers.Staircase(c=np.int64(16))], estimators=Half, **ONE)
    assert {record["masker"] for record in masked} == {"staircase:c=16"}


@pytest.mark.parametrize("given", [Half, Half(), Half(length=0.5), {"use": Half(), "label": "mine"}])
def test_a_class_of_the_callers_own_is_a_plugin_of_this_process(given: Any) -> None:
    seen = judged(estimators=[given], **ONE)
    assert {record["estimator"] for record in seen} == {"half"}
    expected = 0.25 if given == Half(length=0.5) else 0.0001
    assert [record["radius"] for record in seen] == pytest.approx([expected])
    assert seen[0]["plugin"]["dist"] == "in-process" and not LIVE


@pytest.mark.parametrize(
    ("masker", "named"),
    [
        (Quantise(), "quantise"),
        (lambda part: nn.Sequential(part, Quantise()), "masker"),
        ([Quantise(), "dtype:to=float16,at=logits"], "quantise+dtype:to=float16,at=logits"),
        ({"use": Quantise(), "label": "8 bits"}, "8 bits"),
    ],
)
def test_a_masker_is_a_module_a_function_or_a_stack_of_them(masker: Any, named: str) -> None:
    seen = judged(maskers=["none", masker], estimators=Half, **ONE)
    assert list(dict.fromkeys(record["masker"] for record in seen)) == ["none", named]


@pytest.mark.parametrize("given", [3, len, object()])
def test_what_is_no_estimator_is_refused_with_what_is_missing(given: Any) -> None:
    with pytest.raises(UsageError, match="is no estimator"):
        judged(estimators=[given])


def test_a_function_is_a_model() -> None:
    seen = judged(model=lambda inputs: MODEL(inputs), estimators=Half)
    assert [record["predicted"] for record in seen] == [int(MODEL(x[None]).argmax()) for x in INPUTS]


@pytest.mark.parametrize(
    "given",
    [
        {"device": torch.device("cpu")},
        {"seed": np.int64(3), "chunk": np.int32(1), "trap": np.False_},
        {"inputs": list(INPUTS), "labels": [torch.tensor(int(one)) for one in LABELS]},
        {"inputs": [x.numpy() for x in INPUTS], "labels": list(LABELS.numpy())},
        {"bounds": [0, 1]},
    ],
)
def test_the_fields_own_types_are_taken(given: dict[str, Any]) -> None:
    assert {record["status"] for record in judged(estimators=Half, **given)} == {"ok"}


def test_tensors_of_different_shapes_are_said() -> None:
    with pytest.raises(UsageError, match="inputs cannot be read as numbers"):
        judged(inputs=[torch.zeros(4), torch.zeros(5)])


def test_estimates_are_found_by_their_place(results: ff.Results) -> None:
    assert len(results["staircase:c=16"]) == 4 and len(results["none", CHEAP]) == 2
    assert results[CHEAP, "none", 1] == results["none", 1, CHEAP]
    assert results["none", 1, CHEAP]["input"] == 1
    assert results[0] == results.estimates[0] and len(results[:2]) == 2
    with pytest.raises(KeyError, match=r"Did you mean 'staircase:c=16'"):
        results["stair:c=16"]
    with pytest.raises(KeyError, match="not together"):
        results["none", "staircase:c=16"]


def test_what_was_refuted_comes_with_its_point_as_an_array(results: ff.Results) -> None:
    assert results.refuted and {record["masker"] for record in results.refuted} == {"staircase:c=16"}
    record = results.refuted[0]
    witness = next(w["witness"] for w in record["warnings"] if w["witness"])
    point = results.array(witness)
    assert isinstance(point, np.ndarray) and point.shape == (1, 8, 8)
    distance = np.abs(point - INPUTS[record["input"]].numpy()).max()
    assert distance == pytest.approx(witness["distance"], rel=1e-5)
    with pytest.raises(KeyError, match="no stored array 'nothing'"):
        results.array("nothing")


@pytest.mark.parametrize("kind", ["radii", "intervals", "accuracy", "spectrum", "fit", "score"])
def test_pictures_are_matplotlibs(results: ff.Results, kind: str) -> None:
    pytest.importorskip("matplotlib")
    if kind == "spectrum":
        with pytest.raises(KeyError, match="nothing is stored"):
            results.plot(kind)
        return
    (axes,) = results.plot(kind).axes
    assert axes.get_xlabel() and axes.lines
    with pytest.raises(KeyError, match="no picture"):
        results.plot("pie")


def test_a_run_is_saved_and_opened_again(results: ff.Results, tmp_path: Path) -> None:
    again = ff.load(results.save(tmp_path / "kept"))
    assert again.estimates == results.estimates and repr(again) == repr(results)
    assert ff.load("last", store=tmp_path).estimates == results.estimates
    with pytest.raises(StoreError, match="exists already"):
        results.save(tmp_path / "kept")
    written = json.loads(results.save(tmp_path / "run.json").read_text(encoding="utf-8"))
    assert written["schema"] == "falsefloor.run/1"


def test_the_table_fits_where_it_is_shown(results: ff.Results, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert max(map(len, repr(results).splitlines())) <= 60
    assert "REFUTED" in repr(results) and str(results) == repr(results)


def test_the_quickest_effort_looks_at_every_class_of_ten() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6, 10))
    found = ff.evaluate(
        model, torch.full((1, 6), 0.5), estimators=["clever", "attack"], effort="quick", progress=False
    )
    assert {one["verdict"] for one in found.estimates} == {"held"}
