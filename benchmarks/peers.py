"""Our attack and our CLEVER beside the libraries' own, in one process, on one thread, with equal budgets.

    python -m venv /tmp/peers
    /tmp/peers/bin/pip install -c constraints.txt -e ".[bench]"
    /tmp/peers/bin/pip install --no-deps torchattacks==3.5.1   # its pins do not fit: requests, torchvision
    /tmp/peers/bin/python benchmarks/peers.py [--quick] [--part attacks|clever|all] [--count N]
        [--models cnn] [--norms l2 l1] [--json FILE]

Each attack of a library gets 1,000 to 2,000 gradients a digit where its steps can be set, and all together
5,900 (linf) to 9,200 (l2); ours spends 3,300 and 15,000 forwards. Distances are those of the verified points,
over the smallest that any library found. Libraries that are absent are named and skipped.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from machine import correct_digits, machine, processor_seconds, quantile
from peer_attacks import Counted, Result, attacks, libraries, measure, verified
from peer_clever import bad_input, behind_masks, seed_spread
from torch import Tensor, nn

from falsefloor.api import Norm
from falsefloor.engine.context import RunContext, generators
from falsefloor.estimators.attack import Attack
from falsefloor.subjects.subject import ModelSubject

MODELS = ("mlp", "cnn")
NORMS: tuple[Norm, ...] = ("linf", "l2", "l1")
OURS = "falsefloor attack"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="10 digits, a fifth of the budgets, 6 seeds")
    parser.add_argument("--part", choices=("attacks", "clever", "all"), default="all")
    parser.add_argument("--count", type=int, help="digits for the attacks; default 100, quick 10")
    parser.add_argument("--models", nargs="*", choices=MODELS, default=MODELS, help="for the attacks")
    parser.add_argument("--norms", nargs="*", choices=NORMS, default=NORMS, help="for the attacks")
    parser.add_argument("--art-inputs", type=int, default=5, help="inputs whose seed spread ART is asked for")
    parser.add_argument("--json", type=Path, help="write everything there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found, absent = libraries()
    for name, library in found.items():
        print(f"{name} {getattr(library, '__version__', '')}")
    for name, why in absent.items():
        print(f"{name}: skipped, {why}")
    document: dict[str, Any] = {"machine": machine(), "skipped": absent}

    def keep(part: str, rows: list[Any]) -> None:
        document[part] = rows
        if options.json:
            options.json.write_text(json.dumps(document, indent=1) + "\n")

    if options.part in ("attacks", "all"):
        count = options.count or (10 if options.quick else 100)
        rows: list[dict[str, Any]] = []
        asked = [(model, norm) for model in options.models for norm in options.norms]
        for table in attack_tables(found, asked, count, quick=options.quick):
            rows += table
            keep("attacks", rows)
    if options.part in ("clever", "all"):
        if "art" not in found:
            print("The CLEVER part needs ART.")
            return
        keep("masks", masks_table(3 if options.quick else 10, quick=options.quick))
        keep("bad_input", bad_table())
        seeds = range(6 if options.quick else 24)
        keep("seeds", seeds_table(seeds, 5 if options.quick else 20, options.art_inputs))


def attack_tables(
    found: dict[str, Any], asked: Sequence[tuple[str, Norm]], count: int, *, quick: bool
) -> Iterator[list[dict[str, Any]]]:
    """One table a model and norm; ratios to the smallest distance that any library found."""
    for model, norm in asked:
        module, inputs, labels = correct_digits(model, count)
        results: dict[str, Result] = {OURS: ours(module, inputs, labels, norm)}
        for name, adapter in attacks(norm, found, quick=quick):
            try:
                results[name] = measure(adapter, module, inputs, labels, norm)
            except Exception as error:
                print(f"{model} {norm} {name}: {type(error).__name__}: {error}")
        theirs = [r.radius for name, r in results.items() if name != OURS]
        if not theirs:
            print(f"{model} {norm}: no library to compare with")
            continue
        best = torch.stack(theirs).amin(0)
        print(f"\n{model} {norm}, {len(inputs)} digits, over the best of the libraries")
        columns = ("median", "p95", "worst", "failed", "forward", "backward", "s")
        print(f"{'':34}" + "".join(f"{column:>9}" for column in columns))
        rows = []
        for name, result in results.items():
            row = {"model": model, "norm": norm, "attack": name, **described(result, best)}
            rows.append(row)
            ratios = "".join(f"{row[key]:9.4f}" for key in ("median", "p95", "worst"))
            cost = f"{result.forwards:9.0f}{result.backwards:9.0f}{result.seconds:9.3f}"
            print(f"{name:34}{ratios}{row['failed']:>9}{cost}", flush=True)
        yield rows


def described(result: Result, best: Tensor) -> dict[str, Any]:
    # nothing found by anyone is no ratio
    ratio = (result.radius / best)[best.isfinite()]
    return {
        "median": quantile(ratio, 0.5),
        "p95": quantile(ratio, 0.95),
        "worst": float(ratio.max()),
        "nearer": int((ratio < 1 - 1e-4).sum()),
        "farther": int((ratio > 1 + 1e-4).sum()),
        "failed": int(result.radius.isinf().sum()),
        "forwards": result.forwards,
        "backwards": result.backwards,
        "seconds": result.seconds,
        "radii": result.radius.tolist(),
    }


def ours(module: nn.Module, inputs: Tensor, labels: Tensor, norm: Norm) -> Result:
    """The same re-verification as for the others."""
    counted = Counted(module).eval()
    subject = ModelSubject(counted, classes=10)
    before = processor_seconds()
    context = RunContext(generators(inputs, seed=0, norm=norm))
    estimate = Attack()(subject, inputs, labels, norm=norm, context=context)
    seconds = processor_seconds() - before
    if estimate.witness is None:
        raise RuntimeError("the attack returned no witness")
    radius = verified(module, inputs, labels, estimate.witness, norm)
    count = len(inputs)
    return Result(radius, counted.forwards / count, counted.backwards / count, seconds / count)


def masks_table(count: int, *, quick: bool) -> list[dict[str, Any]]:
    rows = []
    print(f"\nCLEVER behind masks, {count} digits, 10 × 20 points; over: above the attack's ceiling")
    columns = ("art = R", "over", "< 1e-3", "ours over", "refuted")
    print(f"{'':32}" + "".join(f"{column:>10}" for column in columns) + "  what art said; our verdicts")
    for row in behind_masks(count, quick=quick):
        rows.append(row)
        said = "; ".join(word for word in row["art_said"] if word) or "nothing"
        verdicts = ", ".join(f"{number} {verdict}" for verdict, number in row["ours_verdicts"].items())
        keys = ("art_exactly_radius", "art_over", "art_under_1e-3", "ours_over", "ours_refuted_of_over")
        numbers = "".join(f"{row[key]:10}" for key in keys)
        print(f"{row['norm'] + ' ' + row['masker']:32}{numbers}  {said[:60]}; {verdicts}", flush=True)
    return rows


def bad_table() -> list[dict[str, str]]:
    rows = list(bad_input())
    print("\nBad input")
    for row in rows:
        print(f"  {row['case']}\n    art:  {row['art'][:150]}\n    ours: {row['ours'][:150]}", flush=True)
    return rows


def seeds_table(seeds: range, mine: int, theirs: int) -> list[dict[str, Any]]:
    rows = []
    print(f"\nLargest over smallest score of {len(seeds)} seeds, 50 × 100, bare MLP, linf")
    print(f"{'':38}{'inputs':>7}{'worst':>12}{'median':>12}{'below half':>12}{'s a score':>11}")
    for row in seed_spread(seeds, ours=mine, theirs=theirs):
        rows.append(row)
        below = f"{row['below_half_the_median']} of {row['of']}"
        print(
            f"{row['who']:38}{row['inputs']:7}{row['worst_spread']:12.4g}{row['median_spread']:12.4g}"
            f"{below:>12}{row['seconds_a_score']:11.3f}",
            flush=True,
        )
    cost = rows[0]["seconds_a_score"] / rows[1]["seconds_a_score"]
    print(f"ART's cost over ours at the same points: {cost:.0f}")
    return rows


if __name__ == "__main__":
    main()
