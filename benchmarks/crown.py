"""What `crown` proves: its share of exact distances, its time, and that it is never above a verified attack.

    python benchmarks/crown.py exact                    # 60 digits, linf, against tests/data/exact_linf.json
    python benchmarks/crown.py cnn [--inputs 3]         # networks of 784 coordinates: seconds an input
    python benchmarks/crown.py attack [--rounds 20]     # random nets, three norms, against the default attack

`attack` counts estimates above a settled ceiling: convolutions, batch norm, poolings, residuals; ReLU, tanh,
GELU, SiLU; 16 inputs a network, norm and round. The networks' last biases are such that every logit has the
same mean over the domain: as torch draws them, half answer one class everywhere, where there is no ceiling to
be above. Ceilings come from a cheap attack (one restart), which leaves room above the true distance; a
settled point is one all the same. `--first` goes on from an earlier call's last round.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from falsefloor.api import Norm
from falsefloor.engine.context import RunContext, generators
from falsefloor.estimators.attack import Attack
from falsefloor.estimators.crown import Crown
from falsefloor.models.digits import DigitsModel, load_split
from falsefloor.subjects.settle import settle
from falsefloor.subjects.subject import ModelSubject

EXACT = Path(__file__).parent.parent / "tests" / "data" / "exact_linf.json"
NORMS: tuple[Norm, ...] = ("linf", "l2", "l1")
Build = Callable[[], nn.Module]


class Residual(nn.Module):
    """x + f(x)."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.inner(x)
        return out


def small(activation: Build, pool: Build, *, side: int = 6, classes: int = 4) -> nn.Module:
    """A convolution with batch norm, a residual, a pooling, two linear layers."""
    norm = nn.BatchNorm2d(4)
    assert norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.normal_(0, 0.2)
    norm.running_var.uniform_(0.5, 2.0)
    inner = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), activation())
    last = nn.Linear(16, classes)
    model = nn.Sequential(
        *(nn.Conv2d(1, 4, 3, padding=1), norm, activation(), Residual(inner), pool()),
        *(nn.Flatten(), nn.Linear(4 * (side // 2) ** 2, 16), activation(), last),
    ).eval()
    with torch.no_grad():
        last.bias -= model(torch.rand(4096, 1, side, side)).mean(0)
    return model


def strided(activation: Build) -> nn.Module:
    """The usual certified-robustness CNN for 28 x 28 pixels: 16 and 32 channels, stride 2, 100 units."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 4, 2, 1), activation(), nn.Conv2d(16, 32, 4, 2, 1), activation()),
        *(nn.Flatten(), nn.Linear(32 * 49, 100), activation(), nn.Linear(100, 10)),
    ).eval()


def run(subject: ModelSubject, inputs: Tensor, norm: Norm, estimator: Crown | Attack) -> Tensor:
    labels = subject(inputs).argmax(1)
    context = RunContext(generators(inputs, seed=0, norm=norm))
    with torch.no_grad():
        found = estimator(subject, inputs, labels, norm=norm, context=context)
    if found.witness is None:
        return found.radius.double()
    settled = settle(subject, inputs, labels, found.witness, norm=norm, rows=4096)
    return torch.where(settled.ok, settled.radius.double(), torch.inf)


def exact() -> None:
    known = json.loads(EXACT.read_text())["digits"]
    loaded = DigitsModel()("mlp")
    subject = ModelSubject(loaded.module, classes=loaded.classes)
    inputs = load_split(held_out=True)[0][[row["input"] for row in known]]
    distance = torch.tensor([row["distance"] for row in known], dtype=torch.float64)
    for steps in (0, Crown().steps):
        start = time.process_time()
        share = run(subject, inputs, "linf", Crown(steps=steps)) / distance
        each = (time.process_time() - start) / len(known)
        low, middle, high = (float(f(share)) for f in (torch.min, torch.median, torch.max))
        print(
            f"steps={steps}: median {middle:.3f}, {low:.3f} to {high:.3f} of the exact distance; {each:.3f} s"
        )


def cnn(count: int) -> None:
    for name, activation in (("relu", nn.ReLU), ("tanh", nn.Tanh)):
        torch.manual_seed(0)
        subject = ModelSubject(strided(activation), classes=10)
        inputs = torch.rand(count, 1, 28, 28) * (torch.rand(count, 1, 28, 28) < 0.3)
        for norm in NORMS:
            start = time.process_time()
            radius = run(subject, inputs, norm, Crown())
            each = (time.process_time() - start) / count
            print(f"784 coordinates, {name}, {norm}: {each:.2f} s an input, {radius.tolist()}", flush=True)


def attack(rounds: int, norms: list[Norm], *, first: int) -> None:
    nets: list[tuple[Build, Build]] = [
        (activation, pool)
        for activation in (nn.ReLU, nn.Tanh, nn.GELU, nn.SiLU)
        for pool in (lambda: nn.AvgPool2d(2), lambda: nn.MaxPool2d(2))
    ]
    judged, above = dict.fromkeys(norms, 0), dict.fromkeys(norms, 0)
    without, shares = 0, []
    for number in range(first, first + rounds):
        torch.manual_seed(number)
        subject = ModelSubject(small(*nets[number % len(nets)]), classes=4)
        inputs = torch.rand(16, 1, 6, 6)
        for norm in norms:
            proved = run(subject, inputs, norm, Crown(steps=3))
            ceiling = run(subject, inputs, norm, Attack(steps=12, restarts=1, rounds=1))
            assert not bool(proved.isnan().any())
            known = ceiling.isfinite()
            judged[norm] += int(known.sum())
            above[norm] += int((proved > ceiling).sum())
            without += int((~known).sum())
            shares += (proved / ceiling)[known].tolist()
        told = ", ".join(f"{norm} {above[norm]} of {judged[norm]}" for norm in norms)
        middle, most = (sorted(shares)[n] for n in (len(shares) // 2, -1)) if shares else (math.nan, math.nan)
        print(
            f"round {number}: above a settled attack {told}; {without} without a ceiling;"
            f" proved / ceiling: median {middle:.3f}, largest {most:.4f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("exact", "cnn", "attack"))
    parser.add_argument("--inputs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=48)
    parser.add_argument("--first", type=int, default=0, help="the seed of the first round")
    parser.add_argument("--norms", nargs="*", choices=NORMS, default=list(NORMS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.what == "exact":
        exact()
    elif options.what == "cnn":
        cnn(options.inputs)
    else:
        attack(options.rounds, options.norms, first=options.first)


if __name__ == "__main__":
    main()
