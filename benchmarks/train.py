"""Reproduces the embedded data file and the weights of every embedded model.

    python benchmarks/train.py [NAME…]

Without names: the data file, for which scikit-learn carries the UCI file (the `bench` extra), and all models.
One thread, CPU, fixed seeds: the same versions on the same kind of machine give the same bytes.
Prints for each model its seed, held-out accuracy and minutes, as a table.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from dataclasses import dataclass

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from falsefloor.models.digits import BUILDERS, DATA, load_split

SPLIT_SEED = 0
HELD_OUT_A_CLASS = 50


@dataclass(frozen=True)
class Recipe:
    """How one model is trained; ``eps`` > 0 trains on ℓ∞ PGD examples of that radius (Madry et al. 2018)."""

    seed: int = 0
    epochs: int = 80
    batch: int = 64
    rate: float = 3e-3
    decay: float = 1e-4
    eps: float = 0.0
    steps: int = 7


RECIPES = {name: Recipe() for name in BUILDERS} | {
    "cnn": Recipe(epochs=40, rate=2e-3),
    "mlp-adv": Recipe(epochs=150, eps=0.08),
    "linear": Recipe(epochs=120, rate=1e-2),
}


def write_data() -> None:
    """Images 0 to 16 and labels as in the original file, and the rows of the stratified held-out split."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    labels = digits.target.astype(np.uint8)
    generator = np.random.default_rng(SPLIT_SEED)
    drawn = [generator.permutation(np.flatnonzero(labels == label))[:HELD_OUT_A_CLASS] for label in range(10)]
    held_out = generator.permutation(np.concatenate(drawn)).astype(np.int16)
    np.savez_compressed(
        DATA / "digits.npz", images=digits.images.astype(np.uint8), labels=labels, held_out=held_out
    )
    print(f"digits.npz: {len(labels)} images, {len(held_out)} held out, split seed {SPLIT_SEED}")


def perturb(model: nn.Module, x: Tensor, y: Tensor, *, eps: float, steps: int) -> Tensor:
    """Projected gradient ascent of the loss within the ℓ∞ ball and the box, from a random start."""
    delta = torch.empty_like(x).uniform_(-eps, eps)
    for _ in range(steps):
        point = (x + delta).clamp(0, 1).requires_grad_()
        (gradient,) = torch.autograd.grad(functional.cross_entropy(model(point), y), point)
        delta = (point.detach() - x + 2.5 * eps / steps * gradient.sign()).clamp(-eps, eps)
    return (x + delta).clamp(0, 1)


def train(name: str, recipe: Recipe) -> nn.Module:
    torch.manual_seed(recipe.seed)
    images, labels = load_split(held_out=False)
    model = BUILDERS[name]().train()
    batches = len(images) // recipe.batch
    optimiser = torch.optim.Adam(model.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=recipe.epochs * batches)
    for _ in range(recipe.epochs):
        order = torch.randperm(len(images))
        for rows in torch.split(order[: batches * recipe.batch], recipe.batch):
            x, y = images[rows], labels[rows]
            if recipe.eps > 0:
                x = perturb(model, x, y, eps=recipe.eps, steps=recipe.steps)
            loss = functional.cross_entropy(model(x), y)
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            schedule.step()
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(BUILDERS)}; default: all")
    names = parser.parse_args().names
    unknown = sorted(set(names) - set(BUILDERS))
    if unknown:
        parser.error(f"no model is called {', '.join(unknown)}; there are {', '.join(BUILDERS)}")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    if not names:
        write_data()
    images, labels = load_split(held_out=True)
    print("| model | parameters | seed | held-out accuracy | minutes | SHA-256 |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in names or BUILDERS:
        start = time.perf_counter()
        model = train(name, RECIPES[name])
        minutes = (time.perf_counter() - start) / 60
        path = DATA / f"{name}.safetensors"
        path.write_bytes(save(model.state_dict()))
        with torch.no_grad():
            accuracy = (model(images).argmax(dim=1) == labels).double().mean().item()
        size = sum(parameter.numel() for parameter in model.parameters())
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        print(
            f"| `digits:{name}` | {size:,} | {RECIPES[name].seed} "
            f"| {accuracy:.1%} | {minutes:.2f} | {digest} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
