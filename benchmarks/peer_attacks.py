"""The attacks of other libraries behind one signature, each with about as many gradients as ours spends.

An adapter takes (module, inputs, labels) and returns candidate inputs; nothing they say of themselves is
believed. Every candidate is clipped to the box, asked again, and bisected towards its input along the segment
(24 forwards), which only ever helps them. Libraries that are absent, or cannot be imported, are named with
the reason. Left out: foolbox's Brendel & Bethge attack, which needs numba and took 3 to 5 s a digit.
"""

from __future__ import annotations

import importlib
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from machine import processor_seconds
from torch import Tensor, nn

from falsefloor.numerics.balls import vector_norm

Adapter = Callable[[nn.Module, Tensor, Tensor], Tensor]
FAR = {"linf": 0.5, "l2": 3.0, "l1": 15.0}
"""Beyond every digit's distance: for attacks that ask for a largest radius."""


class Counted(nn.Module):
    """A model that counts the rows of its forwards and backwards, whoever calls it."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.forwards = self.backwards = 0

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.module(inputs)
        self.forwards += len(inputs)
        if logits.requires_grad:
            logits.register_hook(self._backward)  # type: ignore[no-untyped-call]
        return logits

    def _backward(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)


@dataclass(frozen=True)
class Result:
    """Distances (N,), inf where the attack failed; queries an input; seconds an input of processor time."""

    radius: Tensor
    forwards: float
    backwards: float
    seconds: float


def libraries() -> tuple[dict[str, Any], dict[str, str]]:
    """What imports here, and why the others do not."""
    found: dict[str, Any] = {}
    absent: dict[str, str] = {}
    for name in ("foolbox", "torchattacks", "art", "adv-lib"):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found[name] = adversarial() if name == "adv-lib" else importlib.import_module(name)
        except ImportError as error:
            absent[name] = str(error)
    return found, absent


def adversarial() -> Any:
    """adv-lib's attacks. It imports torchvision for a perceptual distance and visdom for pictures, which no
    attack here uses and which torch's version may not have: empty modules stand for them."""
    for name in ("torchvision", "torchvision.models", "visdom"):
        try:
            importlib.import_module(name)
        except (ImportError, RuntimeError):
            sys.modules[name] = types.ModuleType(name)
    sys.modules["torchvision"].models = sys.modules["torchvision.models"]  # type: ignore[attr-defined]
    return importlib.import_module("adv_lib.attacks")


def attacks(norm: str, found: dict[str, Any], *, quick: bool) -> Iterator[tuple[str, Adapter]]:
    """(name with budget, adapter) of every attack that these libraries have for the norm."""
    steps = 200 if quick else 1000
    if "foolbox" in found:
        fa = found["foolbox"].attacks
        made: dict[str, list[tuple[str, Any]]] = {
            "linf": [
                ("DeepFool(50)", fa.LinfDeepFoolAttack(steps=50)),
                (f"FMN({steps})", fa.LInfFMNAttack(steps=steps)),
                ("HopSkipJump(8)", fa.HopSkipJumpAttack(steps=8, constraint="linf")),
            ],
            "l2": [
                ("DeepFool(50)", fa.L2DeepFoolAttack(steps=50)),
                (f"DDN({steps})", fa.DDNAttack(steps=steps)),
                (f"FMN({steps})", fa.L2FMNAttack(steps=steps)),
                (f"CarliniWagner(9 × {steps // 4})", fa.L2CarliniWagnerAttack(steps=steps // 4)),
                ("HopSkipJump(8)", fa.HopSkipJumpAttack(steps=8)),
            ],
            "l1": [
                (f"FMN({steps})", fa.L1FMNAttack(steps=steps)),
                (f"EAD(9 × {steps // 4})", fa.EADAttack(steps=steps // 4, decision_rule="L1")),
            ],
        }
        for name, attack in made[norm]:
            yield f"foolbox {name}", _foolbox(found["foolbox"], attack)
        yield (
            f"foolbox PGD(10 radii × {steps // 10})",
            pgd(found["foolbox"], norm, steps=steps // 10, far=FAR[norm]),
        )
    if "torchattacks" in found:
        each = steps // 10
        fab = found["torchattacks"]
        yield f"torchattacks FAB(2 × {each})", _fab(fab, norm, steps=each, targeted=False)
        yield f"torchattacks FAB-T(18 × {each})", _fab(fab, norm, steps=each, targeted=True)
    if "art" in found and norm == "l2":
        yield "art DeepFool(100)", _art_deepfool


def measure(adapter: Adapter, module: nn.Module, inputs: Tensor, labels: Tensor, norm: str) -> Result:
    """Run one attack and re-verify what it returns. Raises whatever the library raises."""
    counted = Counted(module).eval()
    torch.manual_seed(0)
    before = processor_seconds()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        candidates = adapter(counted, inputs, labels).detach()
    seconds = processor_seconds() - before
    count = len(inputs)
    radius = verified(module, inputs, labels, candidates, norm)
    return Result(radius, counted.forwards / count, counted.backwards / count, seconds / count)


def verified(module: nn.Module, inputs: Tensor, labels: Tensor, candidates: Tensor, norm: str) -> Tensor:
    """(N,) distances of the candidates after bisection along the segment; inf where the class stays."""

    def fooled(points: Tensor) -> Tensor:
        with torch.no_grad():
            answers: Tensor = module(points).argmax(1)
        return answers != labels

    end = candidates.to(inputs.dtype).nan_to_num(0.0).clamp(0, 1)
    works = fooled(end)
    low, high = torch.zeros(len(inputs)), torch.ones(len(inputs))
    for _ in range(24):
        middle = (low + high) / 2
        holds = fooled(inputs + middle.reshape(-1, 1, 1, 1) * (end - inputs))
        low, high = torch.where(holds, low, middle), torch.where(holds, middle, high)
    reached = inputs + high.reshape(-1, 1, 1, 1) * (end - inputs)
    reached = torch.where(fooled(reached).reshape(-1, 1, 1, 1), reached, end)
    return torch.where(works, vector_norm((reached - inputs).double(), norm), torch.inf)


def _foolbox(foolbox: Any, attack: Any) -> Adapter:
    def run(module: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        model = foolbox.PyTorchModel(module, bounds=(0, 1), device="cpu")
        _, clipped, _ = attack(model, inputs, labels, epsilons=None)
        return clipped

    return run


def pgd(foolbox: Any, norm: str, *, steps: int, far: float) -> Adapter:
    """PGD at 10 radii found by bisection, each input its own: to far/1024, then along the segment."""
    cls = {
        "linf": "LinfProjectedGradientDescentAttack",
        "l2": "L2ProjectedGradientDescentAttack",
        "l1": "SparseL1DescentAttack",
    }[norm]
    attack = getattr(foolbox.attacks, cls)(steps=steps)

    def run(module: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        model = foolbox.PyTorchModel(module, bounds=(0, 1), device="cpu")
        low, high = torch.zeros(len(inputs)), torch.full((len(inputs),), far)
        best = inputs.clone()
        for _ in range(10):
            middle = (low + high) / 2
            # the attack takes one radius for all: inputs of the same radius go together
            success = torch.zeros(len(inputs), dtype=torch.bool)
            for radius in middle.unique():
                here = (middle == radius).nonzero().squeeze(1)
                _, clipped, won = attack(model, inputs[here], labels[here], epsilons=[float(radius)])
                success[here] = won[0]
                best[here[won[0]]] = clipped[0][won[0]]
            low, high = torch.where(success, low, middle), torch.where(success, middle, high)
        return best

    return run


def _fab(torchattacks: Any, norm: str, *, steps: int, targeted: bool) -> Adapter:
    """Two starts of one walk, or of one towards each target. The library's own loop ends at the first success
    within a given radius, so its single runs are called, and the nearest of their points is kept."""
    kind = {"linf": "Linf", "l2": "L2", "l1": "L1"}[norm]

    def run(module: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        attack = torchattacks.FAB(
            module, norm=kind, eps=FAR[norm], steps=steps, n_classes=10, multi_targeted=targeted
        )
        best, radius = inputs.clone(), torch.full((len(inputs),), torch.inf)
        for start in (False, True):
            for target in range(2, 11) if targeted else (None,):
                attack.target_class = target
                walk = attack.attack_single_run_targeted if targeted else attack.attack_single_run
                point = walk(inputs, labels, use_rand_start=start)
                reached = verified(module, inputs, labels, point, norm).to(radius)
                best = torch.where((reached < radius).reshape(-1, 1, 1, 1), point, best)
                radius = torch.minimum(reached, radius)
        return best

    return run


def _art_deepfool(module: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    from art.attacks.evasion import DeepFool

    attack = DeepFool(classifier(module), max_iter=100, verbose=False)
    found: Tensor = torch.from_numpy(attack.generate(inputs.numpy(), labels.numpy()))
    return found


def classifier(module: nn.Module) -> Any:
    """ART's view of a model of 8×8 digits."""
    from art.estimators.classification import PyTorchClassifier

    return PyTorchClassifier(
        module, loss=nn.CrossEntropyLoss(), input_shape=(1, 8, 8), nb_classes=10, clip_values=(0, 1),
        device_type="cpu",
    )  # fmt: skip


__all__ = ["FAR", "Counted", "Result", "attacks", "classifier", "libraries", "measure", "pgd", "verified"]
