"""Published ways to hide or distort a gradient, beyond the package's own maskers: for detection.py.

After Athalye, Carlini & Wagner 2018 ("Obfuscated gradients give a false sense of security"): shattered,
stochastic, vanishing and exploding gradients. After Goodfellow 2018 (the note's definition in its §6, where
a mask may also misdirect): misdirected and ill-conditioned ones. Nothing here was used to set a threshold.

Each is a model reference such as `python:benchmarks/maskers.py:mlp_shattered_dct`, made of an embedded digits
model; `FACTORIES` lists them all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from falsefloor.api import LoadedModel
from falsefloor.models.digits import DigitsModel

Placing = Callable[[nn.Sequential], nn.Module]


class Thermometer(nn.Module):
    """Each pixel as comparisons with fixed levels, read back as their mean (Buckman et al. 2018)."""

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.register_buffer("thresholds", (torch.arange(levels) + 0.5) / levels)

    def forward(self, t: Tensor) -> Tensor:
        thresholds: Tensor = self.get_buffer("thresholds")
        return (t[..., None] > thresholds).to(t.dtype).mean(-1)


class Cosine(nn.Module):
    """The image's cosine transform, rounded to multiples of ``step``: JPEG's one block (Guo et al. 2018)."""

    def __init__(self, step: float, size: int = 8) -> None:
        super().__init__()
        row = torch.arange(size)
        basis = torch.cos(math.pi * (row[None, :] + 0.5) * row[:, None] / size) * math.sqrt(2 / size)
        basis[0] /= math.sqrt(2)
        self.step = step
        self.register_buffer("basis", basis)

    def forward(self, t: Tensor) -> Tensor:
        basis = self.get_buffer("basis")
        spectrum = torch.round(basis @ t @ basis.T / self.step) * self.step
        return basis.T @ spectrum @ basis


class Noise(nn.Module):
    """Gaussian noise at every call, from a stream of its own."""

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.sigma, self.calls = sigma, 0

    def forward(self, t: Tensor) -> Tensor:
        self.calls += 1
        drawn = torch.randn(t.shape, generator=torch.Generator().manual_seed(self.calls))
        return t + self.sigma * drawn.to(t)


class Pruning(nn.Module):
    """A random share of activations is dropped at every call and the rest scaled up (Dhillon et al. 2018)."""

    def __init__(self, keep: float) -> None:
        super().__init__()
        self.keep, self.calls = keep, 0

    def forward(self, t: Tensor) -> Tensor:
        self.calls += 1
        kept = torch.rand(t.shape, generator=torch.Generator().manual_seed(self.calls)) < self.keep
        return t * kept.to(t) / self.keep


class Iterated(nn.Module):
    """n times t <- t - k·sin(2π(ct - phase))/(2πc): purification by an unrolled optimiser (Song et al. 2018).

    Attracted to the grid at ct = phase: the slope is (1 - k)^n there and (1 + k)^n half a step away.
    """

    def __init__(self, c: float, k: float, n: int, phase: float = 0.0) -> None:
        super().__init__()
        self.c, self.k, self.n, self.phase = c, k, n, phase

    def forward(self, t: Tensor) -> Tensor:
        for _ in range(self.n):
            t = t - self.k * torch.sin(2 * math.pi * (self.c * t - self.phase)) / (2 * math.pi * self.c)
        return t


class Distilled(nn.Module):
    """softmax(gain·z): the outputs of a distilled network at temperature one (Papernot et al. 2016)."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, t: Tensor) -> Tensor:
        return torch.softmax(self.gain * t, dim=1)


class Ripple(nn.Module):
    """t + a·sin(wt): the function moves by a, the slope by a·w."""

    def __init__(self, a: float, w: float) -> None:
        super().__init__()
        self.a, self.w = a, w

    def forward(self, t: Tensor) -> Tensor:
        return t + self.a * torch.sin(self.w * t)


class Tilted(nn.Module):
    """A staircase whose flats lean backwards: (k + ½ - s(r - ½))/c, slope -s almost everywhere."""

    def __init__(self, c: int, s: float) -> None:
        super().__init__()
        self.c, self.s = c, s

    def forward(self, t: Tensor) -> Tensor:
        k = torch.floor(self.c * t)
        return (k + 0.5 - self.s * (self.c * t - k - 0.5)) / self.c


class Decoy(nn.Module):
    """A staircase plus ε times the mirrored image: the gradient is another picture's."""

    def __init__(self, c: int, eps: float) -> None:
        super().__init__()
        self.c, self.eps = c, eps

    def forward(self, t: Tensor) -> Tensor:
        return torch.round(self.c * t) / self.c + self.eps * t.flip(-1)


def in_front(masker: nn.Module) -> Placing:
    return lambda body: nn.Sequential(masker, body)


def behind(masker: nn.Module) -> Placing:
    return lambda body: nn.Sequential(body, masker)


def after_first(masker: nn.Module) -> Placing:
    """Behind the first activation."""
    return lambda body: nn.Sequential(body[:3], masker, body[3:])


FAMILIES: dict[str, tuple[tuple[str, ...], dict[str, Callable[[], Placing]]]] = {
    "shattered": (
        ("mlp", "cnn"),
        {"thermometer": lambda: in_front(Thermometer(31)), "dct": lambda: in_front(Cosine(0.05))},
    ),
    "stochastic": (
        ("mlp", "mlp-gelu"),
        {"noise": lambda: in_front(Noise(0.01)), "pruning": lambda: after_first(Pruning(0.97))},
    ),
    "vanishing": (
        ("mlp", "mlp-wide"),
        {
            "purified": lambda: in_front(Iterated(c=32, k=0.9, n=12)),
            "distilled": lambda: behind(Distilled(1.0)),
        },
    ),
    "exploding": (
        ("mlp", "mlp-tanh"),
        {
            "unstable": lambda: in_front(Iterated(c=48, k=0.9, n=8, phase=0.5)),
            "ripple": lambda: in_front(Ripple(a=1e-3, w=1e5)),
        },
    ),
    "misdirected": (
        ("mlp", "mlp-adv"),
        {"tilted": lambda: in_front(Tilted(c=64, s=0.1)), "decoy": lambda: in_front(Decoy(c=64, eps=0.03))},
    ),
    "ill-conditioned": (
        ("mlp", "linear"),
        {
            "wavy": lambda: in_front(Iterated(c=32, k=0.999, n=1)),
            "narrow": lambda: in_front(Iterated(c=16, k=0.9999, n=2)),
        },
    ),
}
"""Family to base models and variants."""


def factory(base: str, make: Callable[[], Callable[[nn.Sequential], nn.Module]]) -> Callable[[], LoadedModel]:
    def build() -> LoadedModel:
        loaded = DigitsModel()(base)
        body = loaded.module
        assert isinstance(body, nn.Sequential)
        return replace(loaded, module=make()(body).eval())

    return build


FACTORIES: dict[str, dict[str, str]] = {family: {} for family in FAMILIES}
"""Family to {name of the factory in this file: base model}."""

for _family, (_bases, _variants) in FAMILIES.items():
    for _base in _bases:
        for _variant, _make in _variants.items():
            _name = f"{_base}_{_family}_{_variant}".replace("-", "_")
            globals()[_name] = factory(_base, _make)
            FACTORIES[_family][_name] = _base
