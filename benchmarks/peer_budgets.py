"""What an attack makes of so many queries: AttackBench's measure (Cinà et al. 2025, arXiv 2404.19460).

The model that an attack is given counts its rows, forwards and backwards together, for each input, notes the
nearest misclassified point inside the box that it was asked about within the budget, and stops an attack that
goes on. What an attack says of itself is not believed. The last `BISECTIONS` queries of every budget, ours
too, halve the segment from that point to the input, the same for all: the attack itself has so many fewer.

Local optimality: the area between robust accuracy without an attack and under it, up to the distance at which
the nearest points of all attacks leave none, over the same area of these nearest points.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from machine import correct_digits
from pages import table
from peer_attacks import FAR, pgd
from torch import Tensor, nn

from falsefloor.api import Norm
from falsefloor.engine.context import RunContext, generators
from falsefloor.estimators.attack import Attack
from falsefloor.numerics.balls import vector_norm
from falsefloor.subjects.subject import ModelSubject

BISECTIONS = 20
BUDGETS = (1000, 2000)
MODELS = ("mlp", "cnn", "resnet")
OURS, OVER = "falsefloor", "ours over the best library's"
Run = Callable[[nn.Module, Tensor, Tensor], object]


class Spent(Exception):  # noqa: N818 no error
    """The budget is used up."""


class Purse(nn.Module):
    """A model that remembers of each input (N, ...) the nearest misclassified point that it was asked about
    within the budget. A row is of the input that it is nearest to, where rows are not as many as inputs."""

    def __init__(self, module: nn.Module, inputs: Tensor, labels: Tensor, norm: Norm, budget: int) -> None:
        super().__init__()
        self.module, self.inputs, self.labels, self.norm = module, inputs, labels, norm
        self.left = torch.full_like(labels, budget)
        self.radius = torch.full_like(labels, torch.inf, dtype=torch.float64)
        self.point = inputs.clone()

    def forward(self, points: Tensor) -> Tensor:
        # through a view and back, so that the gradient lies in memory as libraries expect that of an image
        logits: Tensor = self.module(points.flatten(1).reshape(points.shape))
        who = torch.arange(len(self.inputs))
        if len(points) != len(who):
            who = torch.cdist(points.detach().flatten(1), self.inputs.flatten(1)).argmin(1)
        self._pay(who)
        self._note(points.detach(), logits.detach(), who)
        if logits.requires_grad:
            logits.register_hook(lambda _: self._pay(who))  # type: ignore[no-untyped-call]
        return logits

    def _pay(self, who: Tensor) -> None:
        if bool((self.left < 0).all()):
            raise Spent
        self.left.index_add_(0, who, torch.full_like(who, -1))

    def _note(self, points: Tensor, logits: Tensor, who: Tensor) -> None:
        counted = (self.left[who] >= 0) & ((points >= 0) & (points <= 1)).flatten(1).all(1)
        found = (logits.argmax(1) != self.labels[who]) & counted
        radii = vector_norm((points - self.inputs[who]).double(), self.norm)
        for row in (found & (radii < self.radius[who])).nonzero().squeeze(1).tolist():
            at = who[row]
            if radii[row] < self.radius[at]:
                self.radius[at], self.point[at] = radii[row], points[row]


def spend(
    run: Run, module: nn.Module, inputs: Tensor, labels: Tensor, norm: Norm, budget: int
) -> tuple[Tensor, Tensor]:
    """The distances (N,) that the attack reached, inf for none, and what it asked, bisections included."""
    purse = Purse(module, inputs, labels, norm, budget - BISECTIONS).eval()
    torch.manual_seed(0)
    with contextlib.suppress(Spent), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run(purse, inputs, labels)
    asked = budget - purse.left.clamp(min=0)
    purse.left.fill_(BISECTIONS)
    end = purse.point.clone()
    low, high = torch.zeros(len(labels)), torch.ones(len(labels))
    for _ in range(BISECTIONS):
        middle, before = (low + high) / 2, purse.radius.clone()
        with torch.no_grad():
            purse(inputs + middle.reshape(-1, *[1] * (inputs.ndim - 1)) * (end - inputs))
        nearer = purse.radius < before
        low, high = torch.where(nearer, low, middle), torch.where(nearer, middle, high)
    return purse.radius, asked


def optimality(radii: Tensor, best: Tensor) -> float:
    """Of distances (N,) that may be inf, beside the best of all (N,)."""
    last = best[best.isfinite()].amax()
    return float((last - radii).clamp(min=0).sum() / (last - best).clamp(min=0).sum())


def budgeted(norm: Norm, found: dict[str, Any], budget: int, far: float) -> Iterator[tuple[str, Run]]:
    """Every library's attacks, with as many steps as their budget has. far: beyond every input's distance."""
    steps, p = (budget - BISECTIONS) // 2, float(norm[1:])
    targets = 9
    if "foolbox" in found:
        fa, kind = found["foolbox"].attacks, {"linf": "LInf", "l2": "L2", "l1": "L1"}[norm]
        made = {"FMN": getattr(fa, f"{kind}FMNAttack")(steps=steps)}
        if norm == "l2":
            made["DDN"] = fa.DDNAttack(steps=steps)
        for name, attack in made.items():
            yield f"foolbox {name}", _foolbox(found["foolbox"], attack)
        yield "foolbox PGD", pgd(found["foolbox"], norm, steps=steps // 10, far=far)
    if "torchattacks" in found:
        kind = {"linf": "Linf", "l2": "L2", "l1": "L1"}[norm]
        for name, targeted, each in (
            ("FAB", False, (budget - BISECTIONS) // 12),
            ("FAB-T", True, (budget - BISECTIONS) // (3 * targets)),
        ):
            yield (
                f"torchattacks {name}",
                _fab(found["torchattacks"], kind, far, steps=each, targeted=targeted),
            )
    if "adv-lib" in found:
        lib = found["adv-lib"]
        auto = importlib.import_module("adv_lib.attacks.auto_pgd").minimal_apgd
        yield "adv-lib FMN", lambda m, x, y: lib.fmn(m, x, y, norm=p, steps=steps)
        yield "adv-lib FAB", lambda m, x, y: lib.fab(m, x, y, norm=p, n_iter=(budget - BISECTIONS) // 11)
        yield (
            "adv-lib FAB-T",
            lambda m, x, y: lib.fab(
                m,
                x,
                y,
                norm=p,
                n_iter=(budget - BISECTIONS) // (3 * targets),
                restarts=targets,
                targeted_restarts=True,
            ),
        )
        yield (
            "adv-lib APGD",
            lambda m, x, y: auto(
                m, x, y, norm=p, max_eps=far / 2, n_iter=steps // 10, binary_search_steps=10
            ),
        )
        few = {"targeted_version": True, "num_targets": 3}
        yield "adv-lib APGD-T", lambda m, x, y: auto(
            m, x, y, norm=p, max_eps=far / 2, n_iter=steps // 20, binary_search_steps=10, **few
        )  # fmt: skip
        yield "adv-lib PDPGD", lambda m, x, y: lib.pdpgd(m, x, y, norm=p, num_steps=steps)
        if norm == "l2":
            yield "adv-lib DDN", lambda m, x, y: lib.ddn(m, x, y, steps=steps, levels=None)
            yield "adv-lib PDGD", lambda m, x, y: lib.pdgd(m, x, y, num_steps=steps)
            yield (
                "adv-lib ALMA",
                lambda m, x, y: lib.alma(m, x, y, num_steps=steps, distance="l2", init_lr_distance=far / 10),
            )


def ours(norm: Norm, budget: int) -> Run:
    def run(module: nn.Module, x: Tensor, y: Tensor) -> object:
        subject = ModelSubject(module, classes=10)
        context = RunContext(generators(x, seed=0, norm=norm))
        return Attack(queries=budget - BISECTIONS)(subject, x, y, norm=norm, context=context)

    return run


def _foolbox(foolbox: Any, attack: Any) -> Run:
    def run(module: nn.Module, x: Tensor, y: Tensor) -> object:
        return attack(foolbox.PyTorchModel(module, bounds=(0, 1), device="cpu"), x, y, epsilons=None)

    return run


def _fab(torchattacks: Any, kind: str, far: float, *, steps: int, targeted: bool) -> Run:
    """One walk, or one towards each target."""

    def run(module: nn.Module, x: Tensor, y: Tensor) -> object:
        attack = torchattacks.FAB(
            module, norm=kind, eps=far, steps=steps, n_classes=10, multi_targeted=targeted
        )
        for target in range(2, 11) if targeted else (None,):
            attack.target_class = target
            walk = attack.attack_single_run_targeted if targeted else attack.attack_single_run
            walk(x, y, use_rand_start=False)
        return None

    return run


def reached(
    found: dict[str, Any], asked: Iterable[tuple[str, Norm]], count: int | None, known: dict[str, list[float]]
) -> Iterator[str]:
    """Enter the distances into ``known`` by "model norm budget attack", and say after which; what it holds
    already is not measured again."""
    for name, norm in asked:
        module, inputs, labels = model(name, count)
        for budget in BUDGETS:
            for attack, run in ((OURS, ours(norm, budget)), *budgeted(norm, found, budget, FAR[norm])):
                key = f"{name} {norm} {budget} {attack}"
                if key not in known:
                    radii, spent = spend(run, module, inputs, labels, norm, budget)
                    known[key] = radii.tolist()
                    failed = int(radii.isinf().sum())
                    print(f"{key}: asked {int(spent.max())}, {failed} of {len(radii)} failed", flush=True)
                    yield key


def model(name: str, count: int | None) -> tuple[nn.Module, Tensor, Tensor]:
    """A digits model with 20 digits, or the zoo's small ResNet with 10 pieces of photographs, all of them
    classified correctly."""
    if name != "resnet":
        return correct_digits(name, count or 20)
    sys.path.append(str(Path(__file__).parent / "real"))
    zoo = importlib.import_module("zoo_models")
    torch.manual_seed(0)
    data = zoo.patches()
    module = zoo.train(zoo.resnet(), data, epochs=6)
    for weight in module.parameters():
        weight.requires_grad_(False)
    right = (module(data[2]).argmax(1) == data[3]).nonzero().squeeze(1)[: count or 10]
    return module, data[2][right].contiguous(), data[3][right]


def optimalities(known: dict[str, list[float]]) -> str:
    """The table: each attack at both budgets, and ours over the best of the libraries'."""
    radii = {tuple(key.split(" ", 3)): torch.tensor(values).double() for key, values in known.items()}
    columns = list(dict.fromkeys(key[:2] for key in radii))
    attacks = list(dict.fromkeys(key[3] for key in radii))
    cells: dict[tuple[str, ...], str] = {}
    for column in columns:
        for budget in map(str, BUDGETS):
            here = {key[3]: value for key, value in radii.items() if key[:3] == (*column, budget)}
            if len(here) < 2 or OURS not in here:
                continue
            best = torch.stack(list(here.values())).amin(0)
            values = {name: optimality(value, best) for name, value in here.items()}
            values[OVER] = values[OURS] / max(value for name, value in values.items() if name != OURS)
            cells |= {(name, *column, budget): f"{value:.4f}" for name, value in values.items()}
    told = [
        (name, *(" / ".join(cells.get((name, *column, str(b)), "–") for b in BUDGETS) for column in columns))
        for name in (*attacks, OVER)
    ]
    counts = [len(next(value for key, value in radii.items() if key[:2] == column)) for column in columns]
    heads = [
        f"{name.upper()} {norm.replace('inf', '∞').replace('l', 'ℓ')} ({count})"
        for (name, norm), count in zip(columns, counts, strict=True)
    ]
    return table(("at 1,000 / 2,000 queries", *heads), told)


__all__ = ["MODELS", "optimalities", "reached"]
