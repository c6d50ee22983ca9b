"""Our attack and our CLEVER beside the libraries' own, in one process, on one thread, with equal budgets.

    python -m venv /tmp/peers
    /tmp/peers/bin/pip install -c constraints.txt -e ".[bench]"
    # the pins of these do not fit: requests, torchvision
    /tmp/peers/bin/pip install --no-deps torchattacks==3.5.1 adv-lib==0.2.8
    /tmp/peers/bin/pip install scikit-image                    # photographs, for the ResNet under budgets
    /tmp/peers/bin/python benchmarks/peers.py [--quick] [--part attacks|budgets|clever|all] [--count N]
        [--models cnn] [--norms l2 l1] [--json FILE] [--write]

Each attack of a library gets 1,000 to 2,000 gradients a digit where its steps can be set, and all together
5,900 (linf) to 9,200 (l2); ours spends 3,300 and 15,000 forwards. Distances are those of the verified points,
over the smallest that any library found. Libraries that are absent are named and skipped. Under budgets
(`peer_budgets.py`) what --json FILE holds already is not measured again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from machine import correct_digits, machine, processor_seconds, quantile
from pages import arguments, ratio, show, table
from peer_attacks import Counted, Result, attacks, libraries, measure, verified
from peer_budgets import MODELS as BUDGETED
from peer_budgets import optimalities, reached
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
    parser = arguments(__doc__)
    parser.add_argument("--quick", action="store_true", help="10 digits, a fifth of the budgets, 6 seeds")
    parser.add_argument("--part", choices=("attacks", "budgets", "clever", "all"), default="all")
    parser.add_argument("--count", type=int, help="digits for the attacks; default 100, quick 10")
    parser.add_argument("--models", nargs="*", choices=BUDGETED, help="default: all that a part has")
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

    def keep(part: str, rows: Any) -> None:
        document[part] = rows
        if options.json:
            options.json.write_text(json.dumps(document, indent=1) + "\n")

    if options.part in ("attacks", "all"):
        count = options.count or (10 if options.quick else 100)
        rows: list[dict[str, Any]] = []
        asked = [(model, norm) for model in options.models or MODELS for norm in options.norms]
        for part in attack_rows(found, asked, count, quick=options.quick):
            rows += part
            keep("attacks", rows)
        note = f"Digits: {count}{', a fifth of the budgets' if options.quick else ''}"
        mine = [row for row in rows if row["attack"] == OURS]
        counts = ("nearer", "farther", "failed")
        headings = ("", "median", "p95", "worst", *counts)
        told = [(_place(row), *_ratios(row), *(row[key] for key in counts)) for row in mine]
        show("peers ours", table(headings, told), write=options.write, note=note)
        headings = ("", "attack", "median", "p95", "worst", "failed", "backwards")
        told = [
            (_place(row), row["attack"], *_ratios(row), row["failed"], f"{row['backwards']:,.0f}")
            for row in rows
        ]
        show("peers libraries", table(headings, told), write=options.write, note=note)
    if options.part in ("budgets", "all"):
        known: dict[str, Any] = {}
        if options.json and options.json.exists():
            known = json.loads(options.json.read_text()).get("budgets", {})
        chosen = [norm for norm in options.norms if norm != "l1"]
        pairs = [(model, norm) for model in options.models or BUDGETED for norm in chosen]
        count = 10 if options.quick else options.count
        for _ in reached(found, pairs, count, known):
            keep("budgets", known)
        note = "In brackets: inputs; –: not measured, or not there in this norm"
        show("peers budgets", optimalities(known), write=options.write, note=note)
    if options.part in ("clever", "all"):
        if "art" not in found:
            print("The CLEVER part needs ART.")
            return
        write = options.write
        keep("masks", masks(3 if options.quick else 10, quick=options.quick, write=write))
        keep("bad_input", bad(write=write))
        seeds = range(6 if options.quick else 24)
        keep("seeds", spread(seeds, 5 if options.quick else 20, options.art_inputs, write=write))


def _place(row: dict[str, Any]) -> str:
    return f"{row['model'].upper()} {row['norm'].replace('inf', '∞').replace('l', 'ℓ')}"


def _ratios(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(ratio(row[key]) for key in ("median", "p95", "worst"))


def attack_rows(
    found: dict[str, Any], asked: Sequence[tuple[str, Norm]], count: int, *, quick: bool
) -> Iterator[list[dict[str, Any]]]:
    """The rows of a model and norm; ratios to the smallest distance that any library found."""
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
        rows = [
            {"model": model, "norm": norm, "attack": name, **described(result, best)}
            for name, result in results.items()
        ]
        print(f"{model} {norm}: {_ratios(rows[0])}", flush=True)
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


def masks(count: int, *, quick: bool, write: bool) -> list[dict[str, Any]]:
    """Summed over the norms."""
    rows = list(behind_masks(count, quick=quick))
    told = []
    for masker in dict.fromkeys(row["masker"] for row in rows):
        part = [row for row in rows if row["masker"] == masker]
        of, radius, over, under, ours, refuted = (
            sum(row[key] for row in part)
            for key in ("inputs", "art_exactly_radius", "art_over", "art_under_1e-3", "ours_over",
                        "ours_refuted_of_over")
        )  # fmt: skip
        said = "; ".join(sorted({word for row in part for word in row["art_said"] if word})) or "nothing"
        verdicts: Counter[str] = sum((Counter(row["ours_verdicts"]) for row in part), Counter())
        named = ", ".join(f"{number} {verdict}" for verdict, number in verdicts.items())
        told.append((f"`{masker}`", f"{radius} of {of}", over, under, said, f"{ours}, {refuted}", named))
    headings = (
        *("mask at the input", "ART = radius exactly", "ART over", "ART below 1e-3 of the ceiling"),
        *("ART said", "ours over, and refuted", "our verdicts"),
    )
    norms = ", ".join(dict.fromkeys(row["norm"] for row in rows))
    show("peers masks", table(headings, told), write=write, note=f"Digits: {count}, in {norms}")
    return rows


def bad(*, write: bool) -> list[dict[str, str]]:
    rows = list(bad_input())
    told = [(row["case"], row["art"][:80], row["ours"][:80]) for row in rows]
    show("peers bad", table(("", "ART", "falsefloor"), told), write=write)
    return rows


def spread(seeds: range, mine: int, theirs: int, *, write: bool) -> list[dict[str, Any]]:
    """Largest over smallest score of the seeds, 50 × 100 points, bare MLP, linf."""
    rows = list(seed_spread(seeds, ours=mine, theirs=theirs))
    told = [
        (
            row["who"],
            row["inputs"],
            f"{row['worst_spread']:,.4g}",
            f"{row['below_half_the_median']} of {row['of']}",
            f"{row['seconds_a_score']:.3f}",
        )
        for row in rows
    ]
    cost = rows[0]["seconds_a_score"] / rows[1]["seconds_a_score"]
    headings = ("", "digits", "worst", "below half the input's median", "seconds a score")
    note = f"Seeds: {len(seeds)}; processor time of ART over ours at the same points: {cost:.0f}"
    show("peers seeds", table(headings, told), write=write, note=note)
    return rows


if __name__ == "__main__":
    main()
