"""Where the first version could not see: further defences, and regions of another answer, for detection.py.

Regions know their own nearest points (`known`), which no estimator is told: half-spaces near each held-out
digit at a given share of its distance, slabs that any sampler meets (one in a thousand), the same without an
answer at all, an answer that holds for a batch of one, and a hidden unit that only a faint pattern switches
on. The defences are published ones that maskers.py lacks. No threshold was set on anything here. A needle, a
ball much smaller than the claim, stays out of reach of sampling and is in docs/limits.md instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from maskers import Placing, after_first, factory, in_front
from torch import Tensor, nn

from falsefloor.models.digits import load_split
from falsefloor.numerics.projections import to_plane

ANCHORS = 20
"""Held-out digits with a region of their own: those that the full benchmark judges."""
BEYOND = 1e-3
"""Relative: how far behind a region's edge its known point lies."""


class Learned(nn.Module):
    """Each pixel as the nearest of a codebook made of the data's own quantiles (Vector quantisation)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        pixels = load_split(held_out=False)[0].flatten()
        spread = (
            (pixels + 0.02 * torch.randn(len(pixels), generator=torch.Generator().manual_seed(0)))
            .sort()
            .values
        )
        at = torch.linspace(0, len(spread) - 1, size).long()
        self.register_buffer("codes", spread[at].clamp(0, 1).unique())

    def forward(self, t: Tensor) -> Tensor:
        codes = self.get_buffer("codes")
        return codes[(t[..., None] - codes).abs().argmin(-1)]


class Rotated(nn.Module):
    """Rounded in a random orthogonal basis, and turned back: no axis shows a step."""

    def __init__(self, step: float) -> None:
        super().__init__()
        drawn = torch.randn(64, 64, generator=torch.Generator().manual_seed(1))
        self.step = step
        self.register_buffer("basis", torch.linalg.qr(drawn)[0])

    def forward(self, t: Tensor) -> Tensor:
        basis = self.get_buffer("basis")
        turned = torch.round(t.flatten(1) @ basis / self.step) * self.step
        return (turned @ basis.T).reshape(t.shape)


class Winners(nn.Module):
    """Only the k largest activations pass (Xiao et al. 2020, k-winners-take-all)."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k

    def forward(self, t: Tensor) -> Tensor:
        return t * (t >= t.topk(self.k, dim=1).values[:, -1:]).to(t)


class Voted(nn.Module):
    """Votes over fixed noise, counted: randomised smoothing as it is deployed (Cohen et al. 2019)."""

    def __init__(self, body: nn.Module, *, count: int, sigma: float) -> None:
        super().__init__()
        self.body = body
        drawn = torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(2))
        self.register_buffer("noise", sigma * drawn)

    def forward(self, x: Tensor) -> Tensor:
        noise = self.get_buffer("noise")
        wide = (x[:, None] + noise).reshape(-1, *x.shape[1:])
        votes = torch.nn.functional.one_hot(self.body(wide).argmax(1), 10).to(x)
        return votes.reshape(len(x), len(noise), 10).mean(1)


class Signs(nn.Module):
    """Hidden activations as their signs (binarised networks, Galloway et al. 2018), in steps of a third."""

    def forward(self, t: Tensor) -> Tensor:
        return torch.sign(t) + torch.floor(3 * t) / 3


class SoftSteps(nn.Module):
    """A smooth staircase whose steps are too soft to vanish: (k + ½ + tanh(g(r - ½))/(2 tanh(g/2)))/c."""

    def __init__(self, c: int, g: float) -> None:
        super().__init__()
        self.c, self.g = c, g

    def forward(self, t: Tensor) -> Tensor:
        k = torch.floor(self.c * t)
        rise = torch.tanh(self.g * (self.c * t - k - 0.5)) / math.tanh(self.g / 2)
        return (k + 0.5 + rise / 2) / self.c


class Region(nn.Module):
    """Another answer where ``inside`` says so."""

    def __init__(self, body: nn.Module, *, silent: bool = False) -> None:
        super().__init__()
        self.body, self.silent = body, silent

    def inside(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.body(x)
        other = torch.full_like(logits, torch.nan) if self.silent else logits.roll(1, 1)
        return torch.where(self.inside(x)[:, None], other, logits)


class HalfSpaces(Region):
    """Beside each digit a half-space along a random pattern towards grey, on half of the pixels, at ``share``
    of the digit's linearised distance in linf."""

    def __init__(self, body: nn.Module, *, share: float, silent: bool = False) -> None:
        super().__init__(body, silent=silent)
        anchors = load_split(held_out=True)[0][:ANCHORS].clone().requires_grad_(True)
        logits = body(anchors)
        top = logits.topk(2, dim=1).values
        (slope,) = torch.autograd.grad((top[:, 0] - top[:, 1]).sum(), anchors)
        away = share * (top[:, 0] - top[:, 1]).detach() / slope.flatten(1).abs().sum(1)
        flat = anchors.detach().flatten(1)
        drawn = torch.rand(flat.shape, generator=torch.Generator().manual_seed(3))
        ways = (0.5 + drawn) * (drawn.argsort(1).argsort(1) < 32) * torch.where(flat < 0.5, 1.0, -1.0)
        self.register_buffer("anchors", flat)
        self.register_buffer("ways", ways)
        self.register_buffer("edge", away * ways.abs().sum(1))

    def inside(self, x: Tensor) -> Tensor:
        flat, anchors = x.flatten(1), self.get_buffer("anchors")
        mine = torch.cdist(flat.double(), anchors.double()).argmin(1)
        along = ((flat - anchors[mine]) * self.get_buffer("ways")[mine]).sum(1)
        return along >= self.get_buffer("edge")[mine]

    def known(self, x: Tensor, norm: str) -> Tensor:
        flat = x.flatten(1)
        mine = torch.cdist(flat.double(), self.get_buffer("anchors").double()).argmin(1)
        fall = self.get_buffer("edge")[mine] * (1 + BEYOND)
        return x + to_plane(-self.get_buffer("ways")[mine], fall, flat, 1 - flat, norm=norm).reshape(x.shape)


class Slabs(Region):
    """Slabs across one direction, one in a thousand of another answer: 10,000 across linf's usual claim."""

    def __init__(self, body: nn.Module, *, silent: bool = False) -> None:
        super().__init__(body, silent=silent)
        way = torch.randn(64, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
        self.register_buffer("way", way / way.abs().sum() * 1e5)

    def _number(self, x: Tensor) -> Tensor:
        return x.flatten(1).to(self.get_buffer("way")).matmul(self.get_buffer("way"))

    @staticmethod
    def _other(number: Tensor) -> Tensor:
        return (number.floor().long() * 2654435761 % 2**32) % 1000 == 0

    def inside(self, x: Tensor) -> Tensor:
        return self._other(self._number(x))

    def known(self, x: Tensor, norm: str) -> Tensor:
        """The middle of the nearest slab upwards."""
        flat = x.flatten(1).double()
        start = self._number(x)
        steps = start.floor()[:, None] + torch.arange(1, 20_001, dtype=torch.float64)
        first = self._other(steps).int().argmax(1)
        fall = steps.gather(1, first[:, None])[:, 0] + 0.5 - start
        way = -self.get_buffer("way").expand_as(flat)
        return x + to_plane(way, fall, flat, 1 - flat, norm=norm).reshape(x.shape).to(x)


class Alone(Region):
    """Another answer for a batch of one, farther than a third of the distance from the digit."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__(body)
        self.spaces = HalfSpaces(body, share=0.35)

    def inside(self, x: Tensor) -> Tensor:
        return self.spaces.inside(x) & (len(x) == 1)

    def known(self, x: Tensor, norm: str) -> Tensor:
        return self.spaces.known(x, norm)


class Backdoor(nn.Module):
    """One hidden unit more, off on all data, which a faint pattern of no variance in the data switches on.

    logits + height · relu(pattern · x - threshold) for class 0: a plain ReLU network. At half of the usual
    distance from where the data lie.
    """

    def __init__(self, body: nn.Module, *, height: float, reach: float) -> None:
        super().__init__()
        self.body, self.height = body, height
        images = torch.cat([load_split(held_out=side)[0] for side in (False, True)]).flatten(1)
        varied = images.std(0) > 0.02
        _, _, basis = torch.linalg.svd((images - images.mean(0))[:, varied], full_matrices=False)
        pattern = torch.zeros(64)
        pattern[varied] = basis[-1]
        pattern /= pattern.abs().sum()
        self.unit = nn.Linear(64, 1)
        with torch.no_grad():
            self.unit.weight.copy_(pattern[None])
            self.unit.bias.copy_(-(images @ pattern).quantile(0.99) - reach)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.body(x)
        up = torch.relu(self.unit(x.flatten(1))) * self.height
        return logits + torch.cat([up, torch.zeros_like(logits[:, 1:])], 1)

    def known(self, x: Tensor, norm: str) -> Tensor:
        flat = x.flatten(1)
        logits = self.body(x)
        gap = (logits.amax(1) - logits[:, 0]) / self.height
        fall = (gap * 1.2 + 1e-4 - self.unit(flat)[:, 0]).clamp(min=1e-6)
        way = -self.unit.weight.detach().expand_as(flat)
        return x + to_plane(way, fall, flat, 1 - flat, norm=norm).reshape(x.shape)


def _around(make: Callable[[nn.Module], nn.Module]) -> Placing:
    return make


FAMILIES: dict[str, tuple[tuple[str, ...], dict[str, Callable[[], Placing]]]] = {
    "defences": (
        ("mlp", "cnn"),
        {
            "codebook": lambda: in_front(Learned(12)),
            "rotated": lambda: in_front(Rotated(0.1)),
            "winners": lambda: after_first(Winners(12)),
            "signs": lambda: after_first(Signs()),
            "voted": lambda: _around(lambda body: Voted(body, count=25, sigma=0.05)),
        },
    ),
    "soft steps": (
        ("mlp", "cnn"),
        {
            "few": lambda: in_front(SoftSteps(8, 4.0)),
            "many": lambda: in_front(SoftSteps(32, 6.0)),
        },
    ),
    "half-spaces": (
        ("mlp", "cnn"),
        {
            f"at_{share}": lambda share=share: _around(lambda body: HalfSpaces(body, share=share / 100))  # type: ignore[misc]
            for share in (30, 50, 70, 85)
        },
    ),
    "sparse": (("mlp", "cnn"), {"slabs": lambda: _around(Slabs)}),
    "no answer": (
        ("mlp", "cnn"),
        {
            "slabs": lambda: _around(lambda body: Slabs(body, silent=True)),
            "half": lambda: _around(lambda body: HalfSpaces(body, share=0.5, silent=True)),
        },
    ),
    "batch of one": (("mlp", "cnn"), {"half": lambda: _around(Alone)}),
    "backdoor": (
        ("mlp", "mlp-wide"),
        {
            "low": lambda: _around(lambda body: Backdoor(body, height=1e3, reach=0.005)),
            "high": lambda: _around(lambda body: Backdoor(body, height=1e4, reach=0.01)),
        },
    ),
}
"""Family to base models and variants, as in maskers.py."""

FACTORIES: dict[str, dict[str, str]] = {family: {} for family in FAMILIES}
"""Family to {name of the factory in this file: base model}."""

for _family, (_bases, _variants) in FAMILIES.items():
    for _base in _bases:
        for _variant, _make in _variants.items():
            _name = f"{_base}_{_family}_{_variant}".replace("-", "_").replace(" ", "_")
            globals()[_name] = factory(_base, _make)
            FACTORIES[_family][_name] = _base
