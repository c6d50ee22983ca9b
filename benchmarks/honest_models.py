"""Honest models, unmasked and of many architectures, trained in seconds each: for honest.py.

Digits (1×8×8 pixels of 0 to 1, ten classes) or waves: 24 samples of a sine with one, two or three periods, in
[0, 1]. Every other architecture is `apart`: no rule of this package was set or tried on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from falsefloor.models.digits import load_split

STEPS = 250
BATCH = 128
LENGTH = 24


@dataclass(frozen=True)
class Architecture:
    """build: an untrained module. rate: Adam's, 0 for a model that stays untrained. dtype: what it is cast to
    once it is trained."""

    name: str
    build: Callable[[], nn.Module]
    data: str = "digits"
    rate: float = 3e-3
    dtype: torch.dtype = torch.float32
    apart: bool = False


class Of(nn.Module):
    """A function as a module, with the parts that it needs."""

    def __init__(self, function: Callable[..., Tensor], *parts: nn.Module) -> None:
        super().__init__()
        self.function, self.parts = function, nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *self.parts)


def stack(
    *widths: int, act: Callable[[], nn.Module] = nn.ReLU, norm: type[nn.Module] | None = None
) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Flatten()]
    for a, b in pairwise(widths[:-1]):
        layers += [nn.Linear(a, b), *([norm(b)] if norm else []), act()]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


def conv(*, pool: nn.Module, norm: Callable[[int], nn.Module] | None = None) -> nn.Module:
    extra = [norm(16)] if norm else []
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), *extra, nn.ReLU(), pool, nn.Flatten(), nn.LazyLinear(10)
    )


class Sine(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(3 * x)


class Radial(nn.Module):
    """Gaussian bumps around learned centres, linearly read out."""

    def __init__(self, count: int = 60) -> None:
        super().__init__()
        images, _ = load_split(held_out=False)
        self.centres = nn.Parameter(images[:count].flatten(1).clone())
        self.out = nn.Linear(count, 10)

    def forward(self, x: Tensor) -> Tensor:
        away = (x.flatten(1)[:, None] - self.centres).square().sum(2)
        return self.out(torch.exp(-away / 4))


class Maxout(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, 4 * 32), nn.Linear(32, 40)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x.flatten(1)).reshape(-1, 32, 4).amax(2)
        return self.second(hidden).reshape(-1, 10, 4).amax(2)


class Residual(nn.Module):
    def __init__(self, depth: int = 4, *, gated: bool = False) -> None:
        super().__init__()
        self.first, self.out = nn.Linear(64, 48), nn.Linear(48, 10)
        self.blocks = nn.ModuleList(nn.Linear(48, 48) for _ in range(depth))
        self.gates = nn.ModuleList(nn.Linear(48, 48) for _ in range(depth if gated else 0))

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x.flatten(1))
        for i, block in enumerate(self.blocks):
            new = torch.relu(block(h))
            gate = torch.sigmoid(self.gates[i](h)) if self.gates else None
            h = h + new if gate is None else gate * new + (1 - gate) * h
        return self.out(h)


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase], *, width: int = 16, bidirectional: bool = False) -> None:
        super().__init__()
        self.cell = kind(1, width, batch_first=True, bidirectional=bidirectional)
        self.head = nn.Linear(width * (2 if bidirectional else 1), 3)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.cell(x.unsqueeze(-1))
        return self.head(states.mean(1) if self.cell.bidirectional else states[:, -1])


class Attention(nn.Module):
    """Patches of four with learned positions, one encoder layer, the mean read out."""

    def __init__(self, tokens: int, classes: int, *, act: str = "gelu") -> None:
        super().__init__()
        self.embed = nn.Linear(4, 24)
        self.place = nn.Parameter(0.1 * torch.randn(tokens, 24))
        self.layer = nn.TransformerEncoderLayer(24, 2, 48, dropout=0.0, activation=act, batch_first=True)
        self.head = nn.Linear(24, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(self.embed(x.reshape(len(x), -1, 4)) + self.place).mean(1))


class Rank(nn.Module):
    """A filter in front that takes the value of one rank (1 is the least, the median where none is given) in
    each window of ``side``×``side``: honest, and with more kinks than there are pixels."""

    def __init__(self, inner: nn.Module, *, rank: int | None = None, side: int = 3) -> None:
        super().__init__()
        self.inner, self.side, self.rank = inner, side, rank or (side * side + 1) // 2

    def forward(self, x: Tensor) -> Tensor:
        pad = (self.side // 2,) * 4
        patches = functional.unfold(functional.pad(x, pad, mode="replicate"), self.side)
        values = patches.reshape(len(x), self.side**2, -1).kthvalue(self.rank, 1).values
        return self.inner(values.reshape(x.shape))


class MedianOfFive(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        wide = functional.pad(x[:, None], (2, 2), mode="replicate")[:, 0]
        return self.inner(wide.unfold(1, 5, 1).median(2).values)


class Experts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(64, 3)
        self.experts = nn.ModuleList(stack(64, 24, 10) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        weight = torch.softmax(self.gate(x.flatten(1)), 1)
        return sum(weight[:, i : i + 1] * one(x) for i, one in enumerate(self.experts))  # type: ignore[return-value]


class Bins(nn.Module):
    """Each pixel as a soft choice among eight learned embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("levels", torch.linspace(0, 1, 8))
        self.table = nn.Parameter(torch.randn(8, 4))
        self.inner = stack(256, 48, 10)

    def forward(self, x: Tensor) -> Tensor:
        near = torch.softmax(-20 * (x.flatten(1)[..., None] - self.get_buffer("levels")).square(), 2)
        return self.inner(near @ self.table)


class Excited(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate, self.out = nn.Conv2d(1, 16, 3), nn.Linear(16, 16), nn.Linear(16 * 36, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = functional.silu(self.conv(x))
        return self.out((h * torch.sigmoid(self.gate(h.mean((2, 3))))[..., None, None]).flatten(1))


class Inside(nn.Module):
    """float32 outside, another format within: the usual deployment."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.inner, self.to_dtype = stack(64, 48, 10), dtype

    def forward(self, x: Tensor) -> Tensor:
        own = next(self.inner.parameters()).dtype
        return self.inner((x - 0.5).to(own)).float()


class Autocast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = stack(64, 48, 32, 10)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=not self.training):
            return self.inner(x).float()


def sorted_pairs(x: Tensor) -> Tensor:
    return x.reshape(len(x), -1, 2).sort(2).values.flatten(1)


def sorted_eights(x: Tensor) -> Tensor:
    return x.reshape(len(x), -1, 8).sort(2).values.flatten(1)


class TopPool(nn.Module):
    """The mean of the two largest of each window."""

    def forward(self, x: Tensor) -> Tensor:
        windows = x.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4)
        return windows.topk(2, dim=4).values.mean(4)


def _standardised(x: Tensor, inner: nn.Module) -> Tensor:
    flat = x.flatten(1)
    return inner((flat - flat.mean(1, keepdim=True)) / (flat.std(1, keepdim=True) + 1e-3))


def _on_sphere(x: Tensor, inner: nn.Module) -> Tensor:
    return 8 * functional.normalize(inner(functional.normalize(x.flatten(1), dim=1)), dim=1)


def _mean_probability(x: Tensor, *members: nn.Module) -> Tensor:
    return torch.stack([torch.softmax(one(x), 1) for one in members]).mean(0).clamp(min=1e-9).log()


def _prototypes(x: Tensor, inner: nn.Module, centres: nn.Module) -> Tensor:
    return -torch.cdist(inner(x), centres.weight)  # type: ignore[arg-type]


def _channel(x: Tensor) -> Tensor:
    return x[:, None]


A = Architecture
_HALVES: tuple[tuple[Architecture, Architecture], ...] = (
    (
        A("linear", lambda: stack(64, 10), rate=1e-2),
        A(
            "quadratic",
            lambda: nn.Sequential(
                Of(lambda x: torch.cat([x.flatten(1), x.flatten(1) ** 2], 1)), nn.Linear(128, 10)
            ),
            rate=1e-2,
        ),
    ),
    (A("narrow", lambda: stack(64, 6, 6, 10)), A("deep", lambda: stack(64, *[32] * 8, 10))),
    (
        A("softplus", lambda: stack(64, 48, 32, 10, act=nn.Softplus)),
        A("gelu", lambda: stack(64, 48, 32, 10, act=nn.GELU)),
    ),
    (
        A("leaky", lambda: stack(64, 48, 32, 10, act=nn.LeakyReLU)),
        A("tanh", lambda: stack(64, 48, 32, 10, act=nn.Tanh)),
    ),
    (A("sine", lambda: stack(64, 48, 32, 10, act=Sine)), A("radial", Radial, rate=1e-2)),
    (A("maxout", Maxout), A("sorted pairs", lambda: stack(64, 48, 32, 10, act=lambda: Of(sorted_pairs)))),
    (A("residual", Residual), A("highway", lambda: Residual(gated=True))),
    (
        A("batch norm", lambda: conv(pool=nn.AvgPool2d(2), norm=nn.BatchNorm2d)),
        A("group norm", lambda: conv(pool=nn.AvgPool2d(2), norm=lambda c: nn.GroupNorm(4, c))),
    ),
    (
        A("layer norm", lambda: stack(64, 48, 32, 10, norm=nn.LayerNorm)),
        A("standardised", lambda: Of(_standardised, stack(64, 48, 10))),
    ),
    (
        A("max pooling", lambda: conv(pool=nn.MaxPool2d(2))),
        A("l2 pooling", lambda: conv(pool=nn.LPPool2d(2, 2))),
    ),
    (
        A(
            "conv 1d",
            lambda: nn.Sequential(
                Of(_channel),
                nn.Conv1d(1, 12, 5),
                nn.ReLU(),
                nn.Conv1d(12, 12, 5, stride=2),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(96, 3),
            ),
            "waves",
        ),
        A(
            "dilated 1d",
            lambda: nn.Sequential(
                Of(_channel),
                nn.Conv1d(1, 12, 3, dilation=2),
                nn.SiLU(),
                nn.Conv1d(12, 12, 3, dilation=4),
                nn.SiLU(),
                nn.AdaptiveAvgPool1d(4),
                nn.Flatten(),
                nn.Linear(48, 3),
            ),
            "waves",
        ),
    ),
    (
        A("lstm", lambda: Recurrent(nn.LSTM), "waves", rate=1e-2),
        A("gru", lambda: Recurrent(nn.GRU), "waves", rate=1e-2),
    ),
    (
        A("rnn", lambda: Recurrent(nn.RNN), "waves", rate=3e-3),
        A("lstm both ways", lambda: Recurrent(nn.LSTM, width=8, bidirectional=True), "waves", rate=1e-2),
    ),
    (A("attention", lambda: Attention(6, 3), "waves"), A("patches", lambda: Attention(16, 10, act="relu"))),
    (
        A("bfloat16", lambda: stack(64, 48, 32, 10), dtype=torch.bfloat16),
        A("float16", lambda: stack(64, 48, 32, 10), dtype=torch.float16),
    ),
    (A("bfloat16 inside", lambda: Inside(torch.bfloat16), dtype=torch.bfloat16), A("autocast", Autocast)),
    (
        A("untrained", lambda: stack(64, 48, 32, 10), rate=0),
        A("untrained conv", lambda: conv(pool=nn.AvgPool2d(2)), rate=0),
    ),
    (
        A("median 3x3", lambda: Rank(stack(64, 48, 10))),
        A("median of five", lambda: MedianOfFive(stack(LENGTH, 32, 3)), "waves"),
    ),
    (
        A("median and conv", lambda: Rank(conv(pool=nn.AvgPool2d(2)))),
        A("median twice", lambda: Rank(Rank(stack(64, 32, 10)))),
    ),
    (
        A("ensemble", lambda: Of(_mean_probability, *(stack(64, 24, 10) for _ in range(4)))),
        A("experts", Experts),
    ),
    (
        A("one logit", lambda: stack(LENGTH, 24, 1), "ends"),
        A("two classes", lambda: stack(LENGTH, 24, 24, 2, act=nn.ELU), "ends"),
    ),
    (
        A("log softmax", lambda: nn.Sequential(stack(64, 48, 10), nn.LogSoftmax(1))),
        A("on a sphere", lambda: Of(_on_sphere, stack(64, 48, 10)), rate=1e-2),
    ),
    (
        A("prototypes", lambda: Of(_prototypes, stack(64, 48, 8), nn.Linear(8, 10, bias=False))),
        A("soft bins", Bins),
    ),
    (
        A("float64", lambda: stack(64, 48, 10), dtype=torch.float64),
        A(
            "spectral norm",
            lambda: nn.Sequential(
                nn.Flatten(),
                nn.utils.parametrizations.spectral_norm(nn.Linear(64, 48)),
                nn.ReLU(),
                nn.Linear(48, 10),
            ),
            rate=1e-2,
        ),
    ),
    (
        A(
            "hard swish",
            lambda: nn.Sequential(
                nn.Conv2d(1, 8, 3),
                nn.Hardswish(),
                nn.Conv2d(8, 8, 3, groups=8),
                nn.Hardswish(),
                nn.Flatten(),
                nn.Linear(128, 10),
            ),
        ),
        A("excited", Excited),
    ),
)
# kinks upon kinks, written down after the rule for them
_RANKS = (
    A("median 5x5", lambda: Rank(stack(64, 48, 10), side=5)),
    A("median thrice", lambda: Rank(Rank(Rank(stack(64, 48, 10))))),
    A("second of nine", lambda: Rank(stack(64, 48, 10), rank=2)),
    A("opening", lambda: Rank(Rank(stack(64, 48, 10), rank=9), rank=1)),
    A("sorted eights", lambda: stack(64, 48, 32, 10, act=lambda: Of(sorted_eights))),
    A("top pooling", lambda: conv(pool=TopPool())),
    A("median and maxout", lambda: Rank(Rank(Maxout()))),
)
ARCHITECTURES = (
    *(one for seen, apart in _HALVES for one in (seen, replace(apart, apart=True))),
    *(replace(one, apart=True) for one in _RANKS),
)


@cache
def data(name: str, *, held_out: bool) -> tuple[Tensor, Tensor]:
    """Inputs and labels."""
    if name == "digits":
        return load_split(held_out=held_out)
    generator = torch.Generator().manual_seed(2 if held_out else 1)
    count = 256 if held_out else 2048
    kind = torch.randint(0, 2 if name == "ends" else 3, (count,), generator=generator)
    time = torch.linspace(0, 1, LENGTH)
    phase = 2 * math.pi * torch.rand(count, 1, generator=generator)
    wave = torch.sin(2 * math.pi * (1 + kind[:, None]) * time + phase)
    noise = 0.05 * torch.randn(count, LENGTH, generator=generator)
    return (0.5 + 0.35 * wave + noise).clamp(0, 1), kind


def trained(architecture: Architecture) -> nn.Module:
    """One thread and a fixed seed: the same model on the same kind of machine."""
    torch.manual_seed(0)
    model = architecture.build()
    x, y = data(architecture.data, held_out=False)
    model(x[:2])  # lazy parts take their shape
    if architecture.rate:
        _train(model.train(), x, y, rate=architecture.rate)
    return model.eval().to(architecture.dtype)


def _train(model: nn.Module, x: Tensor, y: Tensor, *, rate: float) -> None:
    optimiser = torch.optim.Adam(model.parameters(), rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    for _ in range(STEPS):
        rows = torch.randint(len(x), (BATCH,))
        logits = model(x[rows])
        if logits.shape[1] == 1:
            logits = torch.cat([torch.zeros_like(logits), logits], 1)
        optimiser.zero_grad()
        functional.cross_entropy(logits, y[rows]).backward()
        optimiser.step()
        schedule.step()
