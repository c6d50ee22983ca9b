"""The Python API: judge live models in this process, with the records that a stored run would have.

results = falsefloor.evaluate(model, inputs, labels, bounds=(0, 1), norm="linf",
                              maskers=["none", "staircase:c=255"], estimators=["clever", "attack"])
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from falsefloor import __version__
from falsefloor.api import LabelledInputs, LoadedModel, Norm
from falsefloor.engine.session import Session, usable_device
from falsefloor.engine.unit import run_unit
from falsefloor.errors import UsageError
from falsefloor.models.kinds import refusal
from falsefloor.plugins import catalogue
from falsefloor.plugins.judging import RunJudge
from falsefloor.report.live import Progress
from falsefloor.report.results import Results
from falsefloor.store.run_dir import RunDir
from falsefloor.store.writer import RunWriter
from falsefloor.study.file import study_from
from falsefloor.study.study import SETTINGS, Study
from falsefloor.study.units import series_of
from falsefloor.worker.drive import Drive
from falsefloor.worker.inprocess import InProcess

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = Tensor | NDArray[np.generic] | Sequence[Any]

__all__ = ["Results", "evaluate"]


def evaluate(
    model: nn.Module | Mapping[str, nn.Module],
    inputs: Array,
    labels: Array | None = None,
    *,
    bounds: tuple[float | Tensor, float | Tensor] = (0.0, 1.0),
    norm: Norm | Sequence[Norm] = "linf",
    maskers: Sequence[str] = ("none",),
    estimators: Sequence[str] = ("clever", "finite-difference", "attack"),
    seed: int = Study.seed,
    chunk: int = Study.chunk,
    device: str = Study.device,
    recover: str = Study.recover,
    ceiling: bool = Study.ceiling,
    trap: bool = Study.trap,
    effort: str = Study.effort,
    output: str | int | None = None,
    progress: bool | None = None,
) -> Results:
    """Estimate and judge radii for live models.

    model: one module, or several by name; each maps (N, *input) to logits (N, K) and is left as it is.
    inputs: (N, *input), in the units of ``bounds``; labels: (N,) classes, None for the model's own answers.
    norm, maskers, estimators: as on the command line ("staircase:c=255", "clever:radius=0.3").
    ceiling: add the estimator ``attack`` where no upper bound was asked for. trap: try each estimator on a
    class change planted behind the same maskers (FF205). effort: quick, standard or thorough,
    budgets of what is not set. output: which of several values that the model returns are its logits, by name
    or number; one logit f means the two classes (0, f).
    progress: show it on stderr; None shows it on a terminal and in a notebook. Radii are in the inputs' own
    units.

    Raises `UsageError` for names, parameters and shapes that do not fit; a plugin that fails fails its own
    estimates only (their status says why).
    """
    given = locals()
    named = _named(model)
    points = _tensor(inputs, "inputs")
    if points.ndim < 2:
        raise UsageError(f"inputs are a batch (N, *shape); these have the shape {tuple(points.shape)}.")
    truth = None if labels is None else _tensor(labels, "labels")
    chosen = {} if output is None else {"output": output}
    study = study_from(
        {
            **{one.name: given[one.name] for one in SETTINGS if one.name in given},
            "models": [{"use": f"live:{name}", "label": name} | chosen for name in named],
            "inputs": "live:inputs",
            "norms": [norm] if isinstance(norm, str) else list(norm),
            "maskers": list(maskers),
            "estimators": list(estimators),
        }
    )
    installed = catalogue()
    series = series_of(study, installed)
    used = usable_device(device)
    session = Session(device=used)
    for name, module in named.items():
        loaded = LoadedModel(module, classes=0, input_shape=tuple(points.shape[1:]), bounds=bounds)
        session.live[f"live:{name}"] = (loaded, LabelledInputs(points, truth))
    folder = Path(tempfile.mkdtemp(prefix="falsefloor-"))
    run = RunDir(folder)
    judge = RunJudge()
    writer = RunWriter(run.db, judge, durable=False)
    writer.set_meta(
        id="in-process",
        in_process=True,
        status="running",
        created=time.time(),
        started=time.time(),
        seed=seed,
        study=study.to_json(),
        device=str(used),
        versions={"falsefloor": __version__, "torch": torch.__version__},
    )
    try:
        with Progress(run, show=_watched() if progress is None else progress) as shown:
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


def _named(model: Any) -> dict[str, nn.Module]:
    """The models by name. Raises `UsageError` for anything else than modules."""
    given = dict(model) if isinstance(model, Mapping) else {"model": model}
    for name, module in given.items():
        if not isinstance(module, nn.Module):
            raise refusal(
                f"{name} is {type(module).__name__}; expected a torch.nn.Module from inputs to logits."
                " A function becomes one as the forward of a class of its own.",
                str(module) if isinstance(module, str | Path) else "",
            )
    return given


def _tensor(values: Any, what: str) -> Tensor:
    """Raises `UsageError` for what makes no tensor: text, None, rows of different lengths."""
    try:
        return torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"{what} cannot be read as numbers: {error}.") from error


def _watched() -> bool:
    return sys.stderr.isatty() or "ipykernel" in sys.modules
