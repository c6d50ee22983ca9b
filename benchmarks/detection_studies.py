"""The detection benchmark's studies: a family of masks on two embedded models each, in three norms.

Thresholds were set on the families that are not `frozen`, and on none of the others.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import maskers
import regions
from torch import nn

from falsefloor.models.digits import BUILDERS, DigitsModel
from falsefloor.plugins.loading import make
from falsefloor.store.reader import RunReader
from falsefloor.store.run_dir import RunDir, list_dirs
from falsefloor.store.standing import ENDED
from falsefloor.study.file import study_from
from falsefloor.study.grammar import parse_stack
from falsefloor.study.study import Study
from falsefloor.subjects.compose import compose
from falsefloor.worker.launch import resume, start

HERE = Path(__file__).parent
NORMS = ("linf", "l2", "l1")
RADIUS = {"linf": 0.3, "l2": 2.0, "l1": 5.0}
"""CLEVER's fixed radius: a few times the usual distance of the digits."""
CLEAN = "clean"


@dataclass(frozen=True)
class Family:
    """models: reference to the embedded model inside; maskers: stacks put on each of them."""

    name: str
    models: Mapping[str, str]
    maskers: tuple[str, ...] = ("none",)
    frozen: bool = False


def _embedded(*names: str) -> dict[str, str]:
    return {f"digits:{name}": name for name in names}


FAMILIES = (
    Family(CLEAN, _embedded(*BUILDERS)),
    Family(
        "staircase",
        _embedded("mlp", "cnn"),
        ("staircase:c=255", "staircase:c=16", "staircase:c=4,at=2"),
    ),
    Family(
        "ramp",
        _embedded("mlp", "mlp-gelu"),
        ("ramp:c=255,delta=0.2", "ramp:c=64,delta=0.01", "ramp:c=255,delta=1e-6"),
    ),
    Family(
        "sigmoid",
        _embedded("mlp", "mlp-adv"),
        ("sigmoid:gain=0.5,at=logits", "sigmoid:gain=1,at=logits", "sigmoid:gain=2,at=logits"),
    ),
    Family(
        "sigmoid-staircase",
        _embedded("mlp", "mlp-tanh"),
        (
            "sigmoid-staircase:c=255,gain=4000",
            "sigmoid-staircase:c=32,gain=400",
            "sigmoid-staircase:c=64,gain=40",
        ),
    ),
    Family(
        "casts",
        _embedded("mlp", "mlp-wide"),
        ("dtype:to=float16", "dtype:to=float8_e4m3fn", "dtype:to=uint8"),
    ),
    Family(
        "half precision",
        _embedded("mlp", "mlp-bn"),
        ("dtype:to=float16,at=model", "dtype:to=bfloat16,at=model"),
    ),
    *(Family(name, dict(factories), frozen=True) for name, factories in maskers.FACTORIES.items()),
    *(Family(name, dict(factories), frozen=True) for name, factories in regions.FACTORIES.items()),
)


def study_of(family: Family, norm: str, *, inputs: str) -> Study:
    """One run: every subject of a family in one norm."""
    fixed = {
        "use": "clever",
        "label": "clever fixed",
        "radius": RADIUS[norm],
        "box": False,
        "directed": False,
    }
    return study_from(
        {
            "models": [_model(ref) for ref in family.models],
            "inputs": inputs,
            "maskers": list(family.maskers),
            "estimators": [fixed, "clever", "finite-difference", "attack"],
            "norms": [norm],
            "recover": "off",
            "device": "cpu",
            "tag": tag_of(family, norm, inputs),
        }
    )


def tag_of(family: Family, norm: str, inputs: str) -> str:
    return f"detection/{family.name}/{norm}/{inputs}"


def _model(ref: str) -> dict[str, Any]:
    file = "regions.py" if hasattr(regions, ref) else "maskers.py"
    use = ref if ref.startswith("digits:") else f"python:{HERE / file}:{ref}"
    return {"use": use, "label": ref}


def subjects_of(family: Family) -> Iterator[tuple[str, nn.Module]]:
    """Every subject of a family as one module, maskers and all, with a name."""
    for ref in family.models:
        loaded = (
            DigitsModel()(ref.removeprefix("digits:")).module if ref.startswith("digits:") else _made(ref)
        )
        for stack in family.maskers:
            specs = [] if stack == "none" else parse_stack(stack)
            layers = [
                (make("masker", s.name, dict(s.without("at").params)), str(s.params.get("at", "input")))
                for s in specs
            ]
            yield f"{ref} {stack}", compose(loaded, layers).eval().requires_grad_(False)


def _made(ref: str) -> nn.Module:
    built: nn.Module = getattr(regions if hasattr(regions, ref) else maskers, ref)().module
    return built


def computed(root: Path, study: Study) -> RunDir:
    """The run of this study in the store: found there, gone on with, or started; waits until it ends."""
    run = next((run for run in list_dirs(root) if _tag(run) == study.tag), None)
    if run is None:
        run, _ = start(study, root)
    elif not run.is_alive() and _status(run) != "done":
        resume(run)
    while True:
        status = _status(run)
        if status in ENDED:
            if status != "done":
                raise SystemExit(f"{study.tag}: run {run.id} is {status}; see {run.log}")
            return run
        time.sleep(0.2)


def finished(root: Path) -> Iterator[tuple[str, RunDir]]:
    """Tag and run of everything that is done in the store."""
    for run in list_dirs(root):
        if _tag(run).startswith("detection/") and _status(run) == "done":
            yield _tag(run), run


def _status(run: RunDir) -> str:
    with RunReader(run) as reader:
        return reader.info().status


def _tag(run: RunDir) -> str:
    with RunReader(run) as reader:
        return reader.info().tag


__all__ = [
    "CLEAN",
    "FAMILIES",
    "NORMS",
    "Family",
    "computed",
    "finished",
    "study_of",
    "subjects_of",
    "tag_of",
]
