"""What people bring: judged with the right value, or refused with the cure. Each row stands for a kind."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

import falsefloor as ff
from falsefloor.errors import UsageError

SIZE, CLASSES = 12, 3
SEEDED = torch.Generator().manual_seed(7)
WEIGHT, BIAS = torch.randn(CLASSES, SIZE, generator=SEEDED), 0.1 * torch.randn(CLASSES, generator=SEEDED)
SIX = 0.35 + 0.3 * torch.rand(6, SIZE, generator=SEEDED)
POINTS = SIX[2:4]
CHEAP = [
    "clever:batches=4,samples=12",
    "finite-difference:batches=1,samples=2",
    "attack:steps=8,restarts=1,rounds=0",
]


def linear(kind: torch.dtype = torch.float32) -> nn.Linear:
    layer = nn.Linear(SIZE, CLASSES).to(kind)
    layer.weight.data, layer.bias.data = WEIGHT.to(kind), BIAS.to(kind)
    return layer


def small(*, size: int = SIZE, classes: int = CLASSES) -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(size, 16), nn.ReLU(), nn.Linear(16, classes))


def exact(points: Tensor = POINTS) -> list[float]:
    logits = points @ WEIGHT.T + BIAS
    top = logits.argmax(1)
    gaps = logits.gather(1, top[:, None]) - logits
    return (gaps / (WEIGHT[top][:, None] - WEIGHT).abs().sum(2)).nan_to_num(torch.inf).amin(1).tolist()


class Calls(nn.Module):
    """A module whose forward is a function of its layer and its inputs."""

    def __init__(self, layer: nn.Module, forward: Callable[[nn.Module, Tensor], Any]) -> None:
        super().__init__()
        self.layer, self.made = layer, forward

    def forward(self, inputs: Tensor) -> Any:
        return self.made(self.layer, inputs)


def in_place(layer: nn.Module, x: Tensor) -> Tensor:
    x -= 0.5
    x *= 2
    return layer(x / 2 + 0.5)


def trees(_layer: nn.Module, x: Tensor) -> Tensor:
    found = np.zeros((len(x), CLASSES), np.float32)
    for feature, at, kind in ((0, 0.5, 0), (3, 0.47, 1), (5, 0.52, 2), (7, 0.5, 0), (2, 0.45, 1)):
        found[np.arange(len(x)), np.where(x[:, feature].numpy() > at, kind, (kind + 1) % CLASSES)] += 0.2
    return torch.from_numpy(found)


class TrainForgets(nn.Sequential):
    def train(self, mode: bool = True) -> Any:
        super().train(mode)
        self[0].eval()


def pruned() -> nn.Module:
    model = small()
    prune.l1_unstructured(model[0], "weight", 0.3)
    model(POINTS)
    return model


def logit(layer: nn.Module, x: Tensor) -> Tensor:
    found: Tensor = layer(x)
    return found[:, :1] - found[:, 1:2]


ANSWERS = linear()(POINTS).argmax(1)
LOW = torch.tensor([0.0, 0, -5, 100] + [0.0] * 8)
HIGH = torch.tensor([1.0, 120, 5, 250] + [1.0] * 8)
BYTES = torch.randint(0, 256, (2, 8, 8, 3), dtype=torch.uint8, generator=SEEDED)


class Case(NamedTuple):
    """radii: CLEVER's, exact, which is then asked alone; said: stands before every number, which CLEVER's are
    then too; verdicts: all of them. Where there is none of these every estimator gives a number."""

    model: Callable[[], nn.Module]
    inputs: Any = POINTS
    labels: Any = None
    options: Mapping[str, Any] = MappingProxyType({})
    radii: list[float] | None = None
    said: str = ""
    verdicts: frozenset[str] | None = None


HELD = frozenset({"held"})
JUDGED = {
    "one of a tuple": Case(
        partial(Calls, linear(), lambda layer, x: (layer(x), x)), options={"output": 0}, radii=exact()
    ),
    "one logit": Case(
        partial(Calls, linear(), logit),
        labels=(logit(linear(), POINTS)[:, 0] > 0).long(),
        radii=(logit(linear(), POINTS)[:, 0].abs() / (WEIGHT[0] - WEIGHT[1]).abs().sum()).tolist(),
        said="one logit",
    ),
    "a vote of probabilities": Case(
        partial(Calls, small(), lambda layer, x: (layer(x).softmax(1) + 0.5) / 2)
    ),
    "bytes, channels last": Case(
        partial(Calls, small(size=192), lambda layer, x: layer(x.permute(0, 3, 1, 2).flatten(1) / 255)),
        inputs=BYTES,
        options={"bounds": (0, 255)},
    ),
    "one-hot labels": Case(
        linear, labels=nn.functional.one_hot(ANSWERS, CLASSES), radii=exact(), said="one-hot"
    ),
    "lists": Case(linear, inputs=POINTS.tolist(), labels=ANSWERS.tolist(), radii=exact()),
    "a half model": Case(
        partial(linear, torch.float16), verdicts=HELD | {"vacuous"}, said="float16: they are cast"
    ),
    "a double model": Case(partial(linear, torch.float64), radii=exact()),
    "a range each": Case(
        partial(Calls, linear(), lambda layer, x: layer((x - LOW) / (HIGH - LOW))),
        inputs=LOW + POINTS * (HIGH - LOW),
        options={"bounds": (LOW.tolist(), HIGH.tolist()), "scale": (HIGH - LOW).tolist()},
        radii=exact(),
        said="units of scale",
    ),
    "its own statistics": Case(
        lambda: nn.Sequential(nn.BatchNorm1d(SIZE, track_running_stats=False), linear()),
        verdicts=frozenset({"suspect", "refuted"}),
    ),
    "a train that forgets": Case(
        lambda: TrainForgets(nn.BatchNorm1d(SIZE, eps=0.0), linear()), radii=exact()
    ),
    "training mode": Case(lambda: nn.Sequential(nn.BatchNorm1d(SIZE, eps=0.0), linear()), radii=exact()),
    "in-place writes": Case(partial(Calls, linear(), in_place), radii=exact(), verdicts=HELD),
    "numpy inside": Case(
        partial(Calls, linear(), lambda layer, x: layer(torch.from_numpy(x.numpy().clip(0, 1))))
    ),
    "trees inside": Case(partial(Calls, linear(), trees)),
    "pruned": Case(pruned, options={"maskers": ["none", "staircase:c=255,at=0"]}),
    "a leftover hook": Case(lambda: hooked(linear()), radii=exact()),
    "column of floats": Case(linear, labels=ANSWERS[:, None].double(), radii=exact()),
    "unsigned": Case(linear, labels=ANSWERS.numpy().astype(np.uint16), radii=exact()),
    "rows of another order of bytes": Case(linear, inputs=POINTS.numpy().astype(">f4"), radii=exact()),
    "reversed rows": Case(linear, inputs=POINTS.numpy()[::-1], radii=exact()[::-1]),
    "wide floats": Case(linear, inputs=POINTS.numpy().astype(np.longdouble), radii=exact()),
    "inputs that require a gradient": Case(linear, inputs=POINTS.clone().requires_grad_(), radii=exact()),
    "sparse inputs": Case(linear, inputs=POINTS.to_sparse(), radii=exact()),
    "objects": Case(linear, labels=np.array(ANSWERS.tolist(), dtype=object), radii=exact()),
    "log-probabilities": Case(
        partial(Calls, linear(), lambda layer, x: (500 * layer(x)).log_softmax(1)),
        radii=exact(),
        verdicts=HELD,
    ),
    "a logit near nothing": Case(
        partial(Calls, linear(), lambda layer, x: layer(x)[:, 0] - layer(x)[:, 1]), verdicts=HELD
    ),
    "shifted labels": Case(
        linear, SIX, (linear()(SIX).argmax(1) + 1) % CLASSES, said="0 of 6 .* as labelled.*shifted"
    ),
    "outside the bounds": Case(
        linear, inputs=POINTS * 4 - 2, said=r"outside .*run from .*bounds=\(.*--bounds"
    ),
    "bytes without bounds": Case(
        partial(Calls, small(size=192), lambda layer, x: layer(x.float().flatten(1) / 255)),
        inputs=BYTES,
        said=r"bounds=\(0, 255\) in Python, --bounds 0,255",
    ),
    "ids without bounds": Case(
        partial(Calls, nn.Sequential(nn.Embedding(10, 4), nn.Flatten(), nn.Linear(20, 3)), lambda m, x: m(x)),
        inputs=torch.tensor([[1, 7, 3, 9, 2], [4, 4, 8, 1, 6]]),
        said=r"ids of tokens\? bounds=\(0, HIGHEST\) in Python, --bounds 0,HIGHEST",
    ),
    "ids of tokens": Case(
        partial(Calls, small(size=5), lambda layer, x: layer(x.long().float())),
        inputs=torch.tensor([[1, 7, 3, 9, 2], [4, 4, 8, 1, 6]]),
        options={"bounds": (0, 9)},
        said=r"sit on a step.*step=1 in Python, --step 1",
    ),
}


def hooked(layer: nn.Module) -> nn.Module:
    layer.register_forward_hook(lambda _module, _inputs, _output: None)
    return layer


@pytest.mark.parametrize("name", JUDGED)
def test_is_judged_with_the_right_value(name: str) -> None:
    case = JUDGED[name]
    alone = case.verdicts is None and bool(case.said or case.radii)
    results = ff.evaluate(
        case.model(),
        case.inputs,
        case.labels,
        estimators=CHEAP[:1] if alone else CHEAP,
        ceiling=False,
        recover="off",
        progress=False,
        **case.options,
    )
    said = " ".join(results.document["run"].get("said", ()))
    assert re.search(case.said, said)
    if case.radii is not None:
        found = [one["radius"] for one in results.estimates if one["estimator"] == "clever"]
        assert found == pytest.approx(case.radii, rel=1e-3)
    if case.verdicts is not None:
        assert {one["verdict"] for one in results.estimates} <= case.verdicts
    if not alone:
        assert {one["status"] for one in results.estimates} == {"ok"}


REFUSED = {
    "a tuple": (
        partial(Calls, linear(), lambda layer, x: (layer(x), x)),
        POINTS,
        r"output=0 in Python, --output 0",
    ),
    "segmentation": (lambda: nn.Conv2d(3, 4, 3, padding=1), torch.rand(2, 3, 8, 8), "every position"),
    "a batch of six": (
        partial(Calls, linear(), lambda layer, x: layer(x.reshape(6, SIZE))),
        SIX,
        r"batches of 6 only.*len\(x\)",
    ),
    "one input only": (
        partial(Calls, linear(), lambda layer, x: layer(x.reshape(1, SIZE))),
        POINTS,
        r"batches of 1 only.*len\(x\)",
    ),
    "a state of six": (
        partial(Calls, linear(), lambda layer, x: layer(x + torch.zeros(6, SIZE))),
        SIX,
        r"\(6, 3\) for one input.*no size of a batch",
    ),
    "lists": (partial(Calls, linear(), lambda layer, x: layer(x).tolist()), POINTS, "as a torch tensor"),
    "a map of one": (
        partial(Calls, linear(), lambda layer, x: layer(x)[:, :, None, None]),
        POINTS,
        r"logits\.flatten\(1\)",
    ),
    "sparse logits": (
        partial(Calls, linear(), lambda layer, x: layer(x).to_sparse()),
        POINTS,
        r"to_dense\(\)",
    ),
    "a data set": (linear, [(POINTS[0], 1), (POINTS[1], 0)], r"of a data set, torch\.stack"),
    "two arguments": (lambda: nn.Bilinear(SIZE, SIZE, 3), POINTS, r"lambda x: model\(x, mask\)"),
    "weights alone": (lambda: linear().state_dict(), POINTS, "load_state_dict"),
    "on a GPU": (
        partial(Calls, linear(), lambda layer, x: layer(x + torch.zeros(1, device="cuda"))),
        POINTS,
        r"CUDA.*device=x\.device.*--device cuda",
    ),
    "weights elsewhere": (lambda: linear().to("meta"), POINTS, "meta device.*load_state_dict"),
    "lazy norms": (lambda: nn.Sequential(nn.LazyBatchNorm1d(), linear()), POINTS, "Call it once"),
    "lazy": (lambda: nn.Sequential(nn.LazyLinear(3)), POINTS, "Call it once"),
    "complex": (linear, POINTS * 1j, "real numbers"),
    "no batch": (linear, POINTS[0], r"batch \(N, \*shape\)"),
    "text": (linear, ["a", "b"], "cannot be read as numbers"),
    "rows of two lengths": (linear, [[1.0], [1.0, 2.0]], "cannot be read as numbers"),
    "nothing": (linear, POINTS[:0], "N at least 1"),
    "another size": (linear, POINTS[:, :5], r"fails on inputs of shape \(1, 5\)"),
    "nothing returned": (partial(Calls, linear(), lambda _layer, _x: None), POINTS, "NoneType"),
    "classes, not logits": (
        partial(Calls, linear(), lambda layer, x: layer(x).argmax(1)),
        POINTS,
        "floating-point",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_with_the_cure(name: str) -> None:
    model, inputs, said = REFUSED[name]
    with pytest.raises(UsageError, match=said):
        ff.evaluate(model(), inputs, estimators=CHEAP, progress=False)


@pytest.mark.parametrize(
    "labels,said",
    [
        ([0, 1], "as many labels"),
        (["a"] * 6, "cannot be read as numbers.*place in the list of classes"),
        ([0, 1, 2, 0, 1, 255], "not a class.*Leave inputs out"),
        ([0.5] * 6, "whole"),
        ([float("nan")] * 6, "whole"),
        ([9] * 6, "not a class"),
        ([-1] * 6, "not a class"),
        ([1, 2, 3, 1, 2, 3], "count from 1"),
        (torch.rand(6, 3), "argmax"),
        (torch.ones(6, 3), "Several labels at once"),
        (torch.zeros(6, 2, 2), "as many labels"),
        (3, "as many labels"),
        ([], "as many labels"),
    ],
)
def test_labels_of_every_wrong_kind_are_told(labels: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ff.evaluate(linear(), SIX, labels, estimators=CHEAP, progress=False)


def test_an_output_that_is_not_there_is_told_with_those_that_are() -> None:
    model = Calls(linear(), lambda layer, x: {"scores": layer(x), "x": x})
    with pytest.raises(UsageError, match=r"no output 'logits'.*scores: float32 \(1, 3\).*output='scores'"):
        ff.evaluate(model, POINTS, output="logits", estimators=CHEAP, progress=False)


def test_where_nothing_may_change_no_distance_is_asked() -> None:
    with pytest.raises(UsageError, match=r"every feature.*leave some of them out"):
        ff.evaluate(linear(), POINTS, immutable=[*range(SIZE)], estimators=CHEAP, progress=False)
