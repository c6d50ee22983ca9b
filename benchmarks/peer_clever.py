"""The most used CLEVER, ART's `clever_u`, beside ours: behind masks, over seeds, on bad input, and its cost.

ART draws from numpy's global state and forks processes for its fits; both are set here to what makes it
repeatable and fair on one thread.
"""

from __future__ import annotations

import io
import logging
import statistics
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from machine import correct_digits, processor_seconds
from peer_attacks import classifier
from torch import Tensor, nn

import falsefloor
from falsefloor.api import Norm
from falsefloor.engine.context import RunContext, generators
from falsefloor.estimators.clever import Clever
from falsefloor.maskers.ramp import Ramp
from falsefloor.maskers.staircase import Staircase
from falsefloor.subjects.compose import compose
from falsefloor.subjects.subject import ModelSubject

RADIUS = {"linf": 0.3, "l2": 2.0, "l1": 5.0}
ORDER = {"linf": np.inf, "l2": 2, "l1": 1}


@dataclass(frozen=True)
class Said:
    """score; everything that was printed, logged or warned."""

    score: float
    words: str


def art_clever(
    module: nn.Module, image: Tensor, *, norm: str, batches: int, samples: int, radius: float, seed: int
) -> Said:
    """ART's score of one image, with its default pool of ten times a batch, at least as many as drawn."""
    from art.metrics import clever_u

    heard = io.StringIO()
    handler = logging.StreamHandler(heard)
    logging.getLogger().addHandler(handler)
    np.random.seed(seed)
    try:
        with redirect_stdout(heard), redirect_stderr(heard), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            score = clever_u(
                classifier(module), image.numpy(), batches, samples, radius, ORDER[norm], verbose=False
            )
    finally:
        logging.getLogger().removeHandler(handler)
    said = heard.getvalue() + "".join(f"{w.category.__name__}: {w.message}\n" for w in caught)
    return Said(float(score), said.strip())


def our_clever(
    module: nn.Module, image: Tensor, label: Tensor, *, norm: Norm, estimator: Clever, seed: int
) -> float:
    subject = ModelSubject(module, classes=10)
    inputs = image.unsqueeze(0)
    context = RunContext(generators(inputs, seed=seed, norm=norm))
    return float(estimator(subject, inputs, label.reshape(1), norm=norm, context=context).radius[0])


def behind_masks(count: int, *, quick: bool) -> Iterator[dict[str, Any]]:
    """Both on ``count`` digits behind a staircase and a narrow ramp: who claims more than the attack's
    ceiling, and who says so."""
    module, inputs, labels = correct_digits("mlp", count)
    masks = {
        "staircase:c=255,mode=round": Staircase(c=255, mode="round"),
        "staircase:c=255": Staircase(c=255),
        "ramp:c=255,delta=1e-4": Ramp(c=255, delta=1e-4),
    }
    for norm in ("linf",) if quick else ("linf", "l2", "l1"):
        radius = RADIUS[norm]
        for name, mask in masks.items():
            masked = compose(module, [(mask, "input")])
            art = [
                art_clever(masked, image, norm=norm, batches=10, samples=20, radius=radius, seed=0)
                for image in inputs
            ]
            ours = falsefloor.evaluate(
                module,
                inputs,
                labels,
                norm=norm,  # type: ignore[arg-type]
                maskers=[name],
                estimators=[f"clever:batches=10,samples=20,radius={radius},box=false", "attack"],
                recover="off",
                progress=False,
            ).estimates
            floors = [row for row in ours if row["estimator"] == "clever"]
            ceilings = [float(row["radius"]) for row in ours if row["estimator"] == "attack"]
            over = [row for row, top in zip(floors, ceilings, strict=True) if row["radius"] > top]
            yield {
                "norm": norm,
                "masker": name,
                "inputs": count,
                "art_exactly_radius": sum(said.score == radius for said in art),
                "art_over": sum(said.score > top for said, top in zip(art, ceilings, strict=True)),
                "art_under_1e-3": sum(
                    said.score < 1e-3 * top for said, top in zip(art, ceilings, strict=True)
                ),
                "art_said": sorted({said.words for said in art}),
                "ours_over": len(over),
                "ours_refuted_of_over": sum(row["verdict"] == "refuted" for row in over),
                "ours_verdicts": dict(Counter(row["verdict"] for row in floors)),
                "ceiling_median": statistics.median(ceilings),
            }


def seed_spread(seeds: Sequence[int], *, ours: int, theirs: int) -> Iterator[dict[str, Any]]:
    """Largest over smallest score of every unmasked input, 50 batches of 100, fixed radius, plain form."""
    module, inputs, labels = correct_digits("mlp", max(ours, theirs))
    plain = Clever(samples=100, radius=RADIUS["linf"], box=False, directed=False)
    forms: dict[str, tuple[int, Callable[[int, int], float]]] = {
        "art clever_u": (
            theirs,
            lambda i, seed: (
                art_clever(
                    module, inputs[i], norm="linf", batches=50, samples=100, radius=RADIUS["linf"], seed=seed
                ).score
            ),
        ),
        "falsefloor, plain": (
            ours,
            lambda i, seed: our_clever(module, inputs[i], labels[i], norm="linf", estimator=plain, seed=seed),
        ),
        "falsefloor, default (50 × 20, auto)": (
            ours,
            lambda i, seed: our_clever(
                module, inputs[i], labels[i], norm="linf", estimator=Clever(), seed=seed
            ),
        ),
    }
    for name, (count, score) in forms.items():
        before = processor_seconds()
        scores = torch.tensor([[score(i, seed) for seed in seeds] for i in range(count)], dtype=torch.float64)
        took = processor_seconds() - before
        middle = scores.median(1, keepdim=True).values
        yield {
            "who": name,
            "inputs": count,
            "seeds": len(seeds),
            "worst_spread": float((scores.amax(1) / scores.amin(1)).max()),
            "median_spread": float((scores.amax(1) / scores.amin(1)).median()),
            "below_half_the_median": int((scores < middle / 2).sum()),
            "of": scores.numel(),
            "smallest": float(scores.min()),
            "seconds_a_score": took / scores.numel(),
        }


def bad_input() -> Iterator[dict[str, str]]:
    """What each says to a radius of -0.1, a misclassified input and a constant model."""
    module, inputs, labels = correct_digits("mlp", 1)
    constant = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    nn.init.zeros_(constant[1].weight)  # type: ignore[arg-type]
    wrong = (labels + 1) % 10

    def theirs(body: nn.Module, radius: float) -> str:
        try:
            said = art_clever(body, inputs[0], norm="linf", batches=5, samples=10, radius=radius, seed=0)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return f"{said.score:.4g}" + (f" ({said.words})" if said.words else "")

    def mine(body: nn.Module, radius: float, label: Tensor) -> str:
        try:
            rows = falsefloor.evaluate(
                body,
                inputs,
                label,
                estimators=[f"clever:batches=5,samples=10,radius={radius}"],
                recover="off",
                progress=False,
            ).estimates
        except falsefloor.errors.FalsefloorError as error:
            return f"{type(error).__name__}: {error}"
        codes = ", ".join(w["code"] for w in rows[0]["warnings"])
        return f"{rows[0]['radius']:.4g}, {rows[0]['verdict']} ({codes})"

    yield {"case": "radius -0.1", "art": theirs(module, -0.1), "ours": mine(module, -0.1, labels)}
    yield {
        "case": "misclassified input",
        "art": theirs(module, 0.3) + ", no label is asked for",
        "ours": mine(module, 0.3, wrong),
    }
    yield {
        "case": "constant model",
        "art": theirs(constant, 0.3),
        "ours": mine(constant, 0.3, constant(inputs).argmax(1)),
    }


__all__ = ["bad_input", "behind_masks", "seed_spread"]
