"""The Python API: judge live models in this process, with the records that a stored run would have.

results = falsefloor.evaluate(model, inputs, labels, bounds=(0, 1), norm="linf",
                              maskers=["none", "staircase:c=255"], estimators=["clever", "attack"])
"""

from __future__ import annotations

import copy
import math
import shutil
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from falsefloor import __version__
from falsefloor.api import Estimator, LabelledInputs, LoadedModel, Masker, Norm
from falsefloor.engine.session import Session, usable_device
from falsefloor.engine.unit import run_unit
from falsefloor.errors import UsageError
from falsefloor.models.refs import refusal
from falsefloor.plugins import catalogue
from falsefloor.plugins.judging import RunJudge
from falsefloor.plugins.loading import HandedOver
from falsefloor.report.results import Results
from falsefloor.store.run_dir import RunDir, find_run, store_root
from falsefloor.store.writer import RunWriter
from falsefloor.study.file import study_from
from falsefloor.study.grammar import parse_stack
from falsefloor.study.study import SETTINGS, Study
from falsefloor.study.units import series_of
from falsefloor.worker.drive import Drive
from falsefloor.worker.inprocess import InProcess, Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = Tensor | NDArray[np.generic] | Sequence[Any]
    Model = nn.Module | Callable[[Tensor], Any]
    Order = Norm | float
    Given = str | Mapping[str, Any] | Masker | Estimator | type | nn.Module | Callable[[nn.Module], nn.Module]

__all__ = ["Results", "evaluate", "load"]
ORDERS: Mapping[float, Norm] = {1: "l1", 2: "l2", math.inf: "linf"}
"""Norms by numpy's name for them."""


def evaluate(
    model: Model | Mapping[str, Model],
    inputs: Array,
    labels: Array | None = None,
    *,
    bounds: tuple[Any, Any] | None = None,
    norm: Order | Sequence[Order] = "linf",
    maskers: Given | Sequence[Given] = ("none",),
    estimators: Given | Sequence[Given] = ("clever", "finite-difference", "attack"),
    seed: int = Study.seed,
    chunk: int = Study.chunk,
    device: str | torch.device = Study.device,
    recover: str = Study.recover,
    ceiling: bool = Study.ceiling,
    trap: bool = Study.trap,
    effort: str = Study.effort,
    witnesses: str = Study.witnesses,
    output: str | int | None = None,
    target: int | None = None,
    average: int | None = None,
    at: str | None = None,
    multilabel: bool = False,
    scale: Any = None,
    step: Any = None,
    immutable: Any = None,
    progress: bool | None = None,
) -> Results:
    """Estimate and judge radii for live models.

    model: one module or function, or several by name; each maps (N, *input) to logits (N, K) and is left as
    it is. inputs: (N, *input), in the units of ``bounds``, a tensor, an array or a list of either; labels:
    (N,) classes, None for the model's own answers.
    norm: "l1", "l2", "linf" or numpy's 1, 2, np.inf; several in a list.
    maskers, estimators: one or several; each as on the command line ("staircase:c=255",
    "clever:radius=0.3"), or an object (`falsefloor.estimators.Clever(radius=0.3)`), a class, or a study
    file's table ({"use": …, "label": "mine"}). A masker may also be a function from a part to what wraps it,
    a module that comes behind the input, or a list: a stack.
    bounds: lowest and highest, each a number or one for each feature or channel; None: 0 and 1. scale: for
    each, what counts as a distance of 1; step: for each, the grid of discrete values, 0 for none; immutable:
    the numbers of those that may not change, or a mask. at: the name of a submodule: the values at its input,
    or behind an embedding ("embedding": the first), are moved instead of the model's input, and bounds and
    all these are of them. multilabel: logits are of labels, each present above 0 (probabilities above 0.5),
    and labels (N, L) of zeros and ones; a radius is the distance at which the first of them changes.
    ceiling: add the estimator ``attack`` where no upper bound was asked for. trap: try each estimator on a
    class change planted behind the same maskers (FF205). effort: quick, standard or thorough,
    budgets of what is not set. witnesses: disk for witnesses and other points ("20GB", "all", "none"), "" for
    half of what is free. output: which of several values that the model returns are its logits, by name
    or number; one logit f means the two classes (0, f). target: the only class to move to, by number.
    average: of a model that answers at random, judge the mean over so many draws, the same ones everywhere
    (EOT, arXiv 1707.07397).
    progress: show it on stderr; None shows it on a terminal and in a notebook. Radii are in the inputs' own
    units.

    Raises `UsageError` for names, parameters and shapes that do not fit; a plugin that fails fails its own
    estimates only (their status says why).
    """
    given = {name: _plain(value) for name, value in locals().items()}
    named = _named(model)
    points = _tensor(inputs, "inputs")
    if points.ndim < 2:
        raise UsageError(f"inputs are a batch (N, *shape); these have the shape {tuple(points.shape)}.")
    truth = None if labels is None else _tensor(labels, "labels")
    chosen = {name: given[name] for name in ("output", "target", "average") if given[name] is not None}
    objects = HandedOver(catalogue())
    study = study_from(
        {
            **{one.name: given[one.name] for one in SETTINGS if one.name in given},
            "models": [{"use": f"live:{name}", "label": name} | chosen for name in named],
            "inputs": "live:inputs",
            "norms": [_norm(one) for one in _several(norm)],
            "maskers": [_stack(one, objects) for one in _several(maskers)],
            "estimators": [_table(one, "estimator", objects) for one in _several(estimators)],
        }
    )
    installed = objects.catalogue
    series = series_of(study, installed)
    used = usable_device(study.device)
    session = Session(device=used)
    for name, module in named.items():
        whole = (0.0, 1.0) if at is None else (-math.inf, math.inf)
        box = whole if bounds is None else bounds
        loaded = LoadedModel(module, classes=0, input_shape=tuple(points.shape[1:]), bounds=box)
        loaded = replace(loaded, scale=scale, step=step, immutable=immutable)
        place = None if at is None else str(at)
        loaded = replace(loaded, at=place, multilabel=multilabel in (True, "yes"))
        session.live[f"live:{name}"] = (loaded, LabelledInputs(points, truth))
    folder = Path(tempfile.mkdtemp(prefix="falsefloor-"))
    run = RunDir(folder)
    judge = RunJudge(installed.installed)
    writer = RunWriter(run.db, judge, durable=False)
    writer.set_meta(
        id="in-process",
        in_process=True,
        status="running",
        created=time.time(),
        started=time.time(),
        seed=study.seed,
        study=study.to_json(),
        device=str(used),
        versions={"falsefloor": __version__, "torch": torch.__version__},
    )
    try:
        with objects.known(), Progress(run, show=_watched() if progress is None else progress) as shown:
            executor = InProcess(session, run_unit, shown.moved)
            status = Drive(writer, study, series, executor, installed=installed).run()
        writer.finish(status)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        writer.close()
        judge.close()
    results = Results(run)
    # not a TemporaryDirectory: that one warns whenever nobody closed it, and nobody closes a table
    weakref.finalize(results, shutil.rmtree, folder, ignore_errors=True)
    return results


def load(run: str | Path, *, store: str | Path | None = None) -> Results:
    """A stored run's results: of the path that `Results.save` wrote, the beginning of an id, or "last".

    store: the folder of runs that ids are looked for in; None is the command line's. Raises `StoreError`.
    """
    return Results(find_run(store_root(None if store is None else Path(store)), str(run)))


class _Function(nn.Module):
    """A function as a module: it is judged as it is, with whatever it refers to."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self._function = function

    def forward(self, inputs: Tensor) -> Any:
        return self._function(inputs)


def _named(model: Any) -> dict[str, nn.Module]:
    """The models by name. Raises `UsageError` for what is neither a module nor a function."""
    given = dict(model) if isinstance(model, Mapping) else {"model": model}
    for name, module in given.items():
        if isinstance(module, Tensor):
            raise UsageError(
                f"{name} is a tensor among weights: a state dictionary has no model in it. Build the module"
                " and load it: model.load_state_dict(weights)."
            )
        if isinstance(module, type) or not callable(module):
            raise refusal(
                f"{name} is {type(module).__name__}; expected a torch.nn.Module or a function from inputs to"
                " logits.",
                str(module) if isinstance(module, str | Path) else "",
            )
    return {name: one if isinstance(one, nn.Module) else _Function(one) for name, one in given.items()}


def _several(given: Any) -> list[Any]:
    """One or several: text, a table and an object are one."""
    return list(given) if isinstance(given, list | tuple | set | frozenset) else [given]


def _norm(given: Any) -> Any:
    """The name of a norm that numpy and torch know by its order."""
    given = _plain(given)
    known = isinstance(given, int | float) and not isinstance(given, bool)
    return ORDERS.get(given, str(given)) if known else str(given)


def _table(given: Any, kind: str, objects: HandedOver) -> Any:
    """What a study file says of a plugin: text as it is, else a table with ``use``."""
    if isinstance(given, str):
        return given
    if not isinstance(given, Mapping):
        return {name: _plain(value) for name, value in objects.spec(kind, _as_masker(given, kind)).items()}
    table = {name: _plain(value) for name, value in given.items()}
    return table if isinstance(table.get("use", ""), str) else table | _table(table["use"], kind, objects)


def _stack(given: Any, objects: HandedOver) -> Any:
    if isinstance(given, str) or (isinstance(given, Mapping) and "stack" in given):
        return given
    layers: list[Any] = []
    for one in _several(given):
        table = _table(one, "masker", objects)
        layers += (
            [{"use": part.name, **part.params} for part in parse_stack(table)]
            if isinstance(table, str)
            else [table]
        )
    label = layers[0].pop("label", "") if len(layers) == 1 else ""
    return {"stack": [layer for layer in layers if layer != {"use": "none"}], "label": label}


def _as_masker(given: Any, kind: str) -> Any:
    """A module as the masker that puts it behind the part at its place."""
    if kind != "masker" or not isinstance(given, nn.Module):
        return given

    def mask(part: nn.Module) -> nn.Module:
        return nn.Sequential(part, copy.deepcopy(given))

    mask.__name__ = type(given).__name__
    return mask


def _plain(value: Any) -> Any:
    """A number of numpy's or torch's, or a device, as what a study file holds."""
    if isinstance(value, torch.device):
        return str(value)
    # a tensor or array of one number, or a scalar of numpy's
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", None) == 0 else value


def _tensor(values: Any, what: str) -> Tensor:
    """Raises `UsageError` for what makes no tensor: text, None, rows of different lengths."""
    try:
        if isinstance(values, list | tuple) and values and all(hasattr(one, "shape") for one in values):
            return torch.stack([torch.as_tensor(one) for one in values])
        kind: Any = getattr(values, "dtype", None)
        if str(kind) in ("object", "str"):
            values = values.tolist()
        elif not isinstance(values, Tensor) and hasattr(kind, "newbyteorder"):
            # numpy's reversed rows, foreign orders of bytes and wide floats, which torch has not
            native = kind.newbyteorder("=")
            values = values.astype("f8" if native.itemsize > 8 and native.kind == "f" else native)
        made = torch.as_tensor(values).detach()
        if made.is_quantized:
            made = made.dequantize()
        return made if made.layout is torch.strided else made.to_dense()
    except (TypeError, ValueError, RuntimeError) as error:
        cure = (
            " Classes are numbers from 0, in the order of the logits: number names by their place in the list"
            " of classes."
            if what == "labels"
            else " Give a tensor, an array or lists of numbers, rows of one length; of a data set,"
            " torch.stack([x for x, _ in data]) and its labels beside."
        )
        raise UsageError(f"{what} cannot be read as numbers: {str(error).rstrip('.')}.{cure}") from error


def _watched() -> bool:
    return sys.stderr.isatty() or "ipykernel" in sys.modules
