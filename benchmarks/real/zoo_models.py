"""Trained models of many kinds for zoo.py, made in seconds from what packages ship and from fixed seeds.

Digits, tables and photographs are those of scikit-learn and scikit-image; waves and tokens are drawn. Every
domain is [0, 1]. `hidden` are models whose own arithmetic hides the gradient (steps, signs, spikes,
integers): there a warning is no false alarm.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mnist_scale
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from falsefloor.models.digits import DigitsModel, load_split

Data = tuple[Tensor, Tensor, Tensor, Tensor]
"""Inputs and labels to train on, and to judge."""


@dataclass(frozen=True)
class Entry:
    """One model of the zoo. make: module and data; norms: judged in; inputs: how many; guide: whose gradient
    the independent attack follows where the model has none."""

    name: str
    make: Callable[[], tuple[nn.Module, Data]]
    norms: tuple[str, ...] = ("linf", "l2")
    inputs: int = 3
    hidden: bool = False
    guide: Callable[[], nn.Module] | None = None


def train(
    model: nn.Module, data: Data, *, epochs: int, rate: float = 3e-3, rows: int = 64, eps: float = 0.0
) -> nn.Module:
    """Adam on the cross-entropy; with ``eps`` on inputs that one projected gradient step has moved (Madry et
    al. 2018), in linf."""
    x, y = data[:2]
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], rate)
    model.train()
    for _ in range(epochs):
        for at in torch.randperm(len(x)).split(rows):
            given = x[at]
            if eps:
                given = given.clone().requires_grad_()
                (slope,) = torch.autograd.grad(functional.cross_entropy(model(given), y[at]), given)
                given = (x[at] + eps * slope.sign()).clamp(0, 1)
            optimiser.zero_grad()
            _loss(model(given), y[at]).backward()
            optimiser.step()
    return model.eval()


def _loss(logits: Tensor, labels: Tensor) -> Tensor:
    if logits.shape[1] == 1:
        return functional.binary_cross_entropy_with_logits(logits[:, 0], labels.to(logits))
    return functional.cross_entropy(logits, labels)


def digits() -> Data:
    return (*load_split(held_out=False), *load_split(held_out=True))


def large_digits() -> Data:
    x, y = mnist_scale.digits()
    return x[: mnist_scale.TRAINED], y[: mnist_scale.TRAINED], x[1500:], y[1500:]


def patches() -> Data:
    """32 × 32 pieces of ten halves of five photographs: which half is it from?"""
    import skimage.data
    import sklearn.datasets

    shown = [getattr(skimage.data, name)() for name in ("chelsea", "coffee", "rocket", "astronaut")]
    shown.append(sklearn.datasets.load_sample_image("flower.jpg"))
    halves = [half for picture in shown for half in np.array_split(picture, 2)]
    drawn = np.random.default_rng(0)
    found = []
    for label, half in enumerate(halves):
        for _ in range(170):
            top, left = (int(drawn.integers(0, side - 32)) for side in half.shape[:2])
            found.append((half[top : top + 32, left : left + 32].transpose(2, 0, 1) / 255, label))
    order = drawn.permutation(len(found))
    x = torch.tensor(np.stack([found[at][0] for at in order]), dtype=torch.float32)
    y = torch.tensor([found[at][1] for at in order])
    return x[:1500], y[:1500], x[1500:], y[1500:]


def features(name: str) -> Data:
    """A table of scikit-learn, every feature scaled to [0, 1]."""
    import sklearn.datasets

    raw = getattr(sklearn.datasets, f"load_{name}")()
    x, y = torch.tensor(raw.data, dtype=torch.float32), torch.tensor(raw.target)
    if name == "diabetes":  # progression above the median, or not
        y = (y > y.median()).long()
    x = (x - x.amin(0)) / (x.amax(0) - x.amin(0))
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    x, y, cut = x[order], y[order].long(), len(x) * 3 // 4
    return x[:cut], y[:cut], x[cut:], y[cut:]


def waves() -> Data:
    """48 samples of a sine, a square or a saw, of any pitch and phase, in noise."""
    drawn = torch.Generator().manual_seed(0)
    y = torch.randint(0, 3, (900,), generator=drawn)
    pitch, phase = 2 + 2 * torch.rand(900, 1, generator=drawn), torch.rand(900, 1, generator=drawn)
    turn = (pitch * torch.linspace(0, 1, 48) + phase) % 1
    kinds = torch.stack([(2 * torch.pi * turn).sin(), (turn < 0.5) * 2.0 - 1, 2 * turn - 1])
    x = kinds[y, torch.arange(900)] + 0.1 * torch.randn(900, 48, generator=drawn)
    x = (0.5 + 0.4 * x).clamp(0, 1)[:, None]
    return x[:700], y[:700], x[700:], y[700:]


def tokens() -> Data:
    """Twelve tokens of 20, embedded in [0, 1] with 8 numbers each: does the first come again?"""
    drawn = torch.Generator().manual_seed(0)
    written = torch.randint(0, 20, (2000, 12), generator=drawn)
    again = torch.rand(2000, generator=drawn) < 0.5
    at = torch.randint(1, 12, (2000,), generator=drawn)
    written[again, at[again]] = written[again, 0]
    y = (written[:, 1:] == written[:, :1]).any(1).long()
    x = torch.rand(20, 8, generator=drawn)[written]
    return x[:1700], y[:1700], x[1700:], y[1700:]


class Block(nn.Module):
    def __init__(self, taken: int, given: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(taken, given, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(given, given, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(given) for _ in range(2))
        same = taken == given and stride == 1
        self.short = nn.Identity() if same else nn.Conv2d(taken, given, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.norms[1](self.second(torch.relu(self.norms[0](self.first(x)))))
        return torch.relu(inner + self.short(x))


def resnet(width: int = 8) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, width, 3, 1, 1), nn.ReLU(), Block(width, width, 1), Block(width, 2 * width, 2),
        Block(2 * width, 4 * width, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, 10),
    )  # fmt: skip


class ViT(nn.Module):
    """Two layers of attention over 8 × 8 pieces."""

    def __init__(self) -> None:
        super().__init__()
        self.cut, self.place = nn.Conv2d(3, 32, 8, 8), nn.Parameter(0.02 * torch.randn(16, 32))
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.layers(self.cut(x).flatten(2).mT + self.place).mean(1))
        return logits


class Recurrent(nn.Module):
    """From what a cell has seen at the end; of a wave four samples at a time."""

    def __init__(self, cell: type[nn.LSTM | nn.GRU], taken: int, classes: int) -> None:
        super().__init__()
        self.cell, self.head = cell(taken, 24, batch_first=True), nn.Linear(24, classes)

    def forward(self, x: Tensor) -> Tensor:
        steps = x.reshape(len(x), -1, self.cell.input_size)
        logits: Tensor = self.head(self.cell(steps)[0][:, -1])
        return logits


class Sign(torch.autograd.Function):
    """A sign; backwards the slope of a clamp (Bengio et al. 2013; Hubara et al. 2016)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.where(x >= 0, 1.0, -1.0)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return slopes[0] * (x.abs() <= 1)


class Binarised(nn.Module):
    """Hidden values and their weights are signs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, 128), nn.Parameter(0.1 * torch.randn(128, 128))
        self.norms, self.head = nn.ModuleList(nn.BatchNorm1d(128) for _ in range(2)), nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        hidden = Sign.apply(self.norms[0](self.first(x.flatten(1))))  # type: ignore[no-untyped-call]
        hidden = Sign.apply(self.norms[1](hidden @ Sign.apply(self.second)))  # type: ignore[no-untyped-call]
        logits: Tensor = self.head(hidden)
        return logits


class Spike(torch.autograd.Function):
    """A spike above a threshold; backwards the slope of a fast sigmoid (Zenke & Ganguli 2018)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x > 0).to(x)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return slopes[0] / (1 + 5 * x.abs()) ** 2


class Spiking(nn.Module):
    """Leaky neurons that integrate and fire, over eight steps of a constant input."""

    def __init__(self) -> None:
        super().__init__()
        self.taken, self.head = nn.Linear(64, 96), nn.Linear(96, 10)

    def forward(self, x: Tensor) -> Tensor:
        current, charge, fired = self.taken(x.flatten(1)), 0.0, 0.0
        for _ in range(8):
            charge = 0.8 * charge + current
            spike = Spike.apply(charge - 1)  # type: ignore[no-untyped-call]
            charge, fired = charge * (1 - spike), fired + spike
        logits: Tensor = self.head(fired / 8)
        return logits


def mlp(taken: int, classes: int, *, width: int = 32) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(taken, width), nn.Tanh(), nn.Linear(width, classes))


def trained(model: Callable[[], nn.Module], data: Callable[[], Data], **how: Any) -> Any:
    def make() -> tuple[nn.Module, Data]:
        torch.manual_seed(0)
        given = data()
        return train(model(), given, **how), given

    return make


def half() -> tuple[nn.Module, Data]:
    return copy.deepcopy(DigitsModel()("mlp").module).to(torch.bfloat16), digits()


def dynamic() -> tuple[nn.Module, Data]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        net = torch.ao.quantization.quantize_dynamic(copy.deepcopy(DigitsModel()("mlp").module), {nn.Linear})
    return net, digits()


def aware() -> tuple[nn.Module, Data]:
    """Trained with fake quantisation of weights and activations, which stay in place."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)).train()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net.qconfig = torch.ao.quantization.get_default_qat_qconfig("fbgemm")  # type: ignore[assignment]
        net = torch.ao.quantization.prepare_qat(net)
        given = digits()
        net = train(net, given, epochs=6)
        net.apply(torch.ao.quantization.disable_observer)
    return net, given


ZOO = (
    Entry("CNN, digits 28 × 28", lambda: (mnist_scale.build(), large_digits())),
    Entry("ResNet, photographs 32 × 32", trained(resnet, patches, epochs=6), inputs=2),
    Entry("ResNet, trained on attacks", trained(resnet, patches, epochs=6, eps=4 / 255), ("linf",), 2),
    Entry("ViT, photographs 32 × 32", trained(ViT, patches, epochs=12), inputs=2),
    Entry("MLP, wine", trained(lambda: mlp(13, 3), lambda: features("wine"), epochs=60)),
    Entry("MLP, cancer", trained(lambda: mlp(30, 2), lambda: features("breast_cancer"), epochs=40)),
    Entry("one logit, cancer", trained(lambda: mlp(30, 1), lambda: features("breast_cancer"), epochs=40)),
    Entry("MLP, diabetes", trained(lambda: mlp(10, 2), lambda: features("diabetes"), epochs=60)),
    Entry(
        "1-D CNN, waves",
        trained(
            lambda: nn.Sequential(
                nn.Conv1d(1, 8, 5, padding=2),
                nn.ReLU(),
                nn.MaxPool1d(2),
                nn.Conv1d(8, 16, 5, padding=2),
                nn.ReLU(),
                nn.AdaptiveAvgPool1d(4),
                nn.Flatten(),
                nn.Linear(64, 3),
            ),
            waves,
            epochs=15,
        ),
    ),
    Entry("LSTM, waves", trained(lambda: Recurrent(nn.LSTM, 4, 3), waves, epochs=40, rate=1e-2), inputs=2),
    Entry("GRU, token embeddings", trained(lambda: Recurrent(nn.GRU, 8, 2), tokens, epochs=30, rate=1e-2)),
    Entry("MLP in bfloat16, digits", half),
    Entry("int8 (dynamic), digits", dynamic, ("linf",), 1, True, lambda: DigitsModel()("mlp").module),
    Entry("quantisation-aware, digits", aware, inputs=2, hidden=True),
    Entry("binarised, digits", trained(Binarised, digits, epochs=12), inputs=2, hidden=True),
    Entry("spiking, digits", trained(Spiking, digits, epochs=12), inputs=2, hidden=True),
)
