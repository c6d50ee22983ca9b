"""Exported programs (`export:FILE.pt2`): a model as data, loaded without running code that came with it.

Layers keep their names, so maskers can be placed at them.
"""

from __future__ import annotations

import copy
import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn
from torch.export.unflatten import UnflattenedModule

from falsefloor.api import LoadedModel
from falsefloor.errors import DomainError, UsageError
from falsefloor.models.archive import vet
from falsefloor.models.refs import existing_file, kind_of_file

HOW = (
    "Export it with torch.export.export(model.eval(), (batch,), dynamic_shapes=({0: torch.export.Dim('n')},))"
    ", where batch holds two inputs or more."
)
TRAINING_ARGUMENT = {"aten::batch_norm": 5, "aten::dropout": 2, "aten::instance_norm": 5}


class Exported(UnflattenedModule):
    """The program with its layers as submodules; copies without the warning that torch itself causes."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Exported:
        clone = type(self).__new__(type(self))
        memo[id(self)] = clone
        with _silence():
            clone.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return clone


@dataclass(frozen=True)
class ExportModel:
    """A program from `torch.export.save`, read without running code: `export:FILE.pt2`.

    It takes one input (a batch) and gives logits, or several values of which ``output`` names them.
    The batch dimension must be dynamic and the export made in eval mode. The archive is vetted before torch
    reads it (see `falsefloor.models.archive`), and its pickles are read as weights only. Raises UsageError
    for a file that is missing, damaged or refused, DomainError for a program of another form.
    """

    api_version: ClassVar[int] = 1

    def __call__(self, ref: str, /) -> LoadedModel:
        path = existing_file(ref, kind="exported program", form="export:FILE.pt2")
        data = path.read_bytes()
        said = kind_of_file(str(path))
        if said and "exported program" not in said and "truncated" not in said:
            raise UsageError(f"{path} is no exported program. {said}")
        vet(data, name=str(path))
        try:
            with _silence(), _weights_only():
                program = torch.export.load(io.BytesIO(data))
        except Exception as error:  # torch raises whatever its readers happen to raise
            raise UsageError(
                f"{path} was refused by torch {torch.__version__}: {_first_line(error)} "
                "Only tensors are read from it, and a file of a much older or newer torch may not load."
            ) from error
        input_shape, classes = _signature(program, path)
        _refuse_training(program, path)
        with _silence():
            module = Exported(program)
        _forget_traces(module)
        return LoadedModel(
            module=module.eval(), classes=classes, input_shape=input_shape, files=(str(path.resolve()),)
        )


def _signature(program: torch.export.ExportedProgram, path: Path) -> tuple[tuple[int, ...], int]:
    """Shape of one input and number of classes, 0 where there are several outputs or one logit, from the
    traced example. Raises DomainError."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    signature = program.graph_signature
    inputs = [values.get(str(name)) for name in signature.user_inputs]
    outputs = [values.get(str(name)) for name in signature.user_outputs]
    if len(inputs) != 1 or not isinstance(inputs[0], torch.Tensor):
        raise DomainError(
            f"{path} takes {len(inputs)} inputs; a model must take one tensor, the batch. {HOW}"
        )
    alone = program.call_spec.out_spec.is_leaf()
    only = outputs[0] if alone and isinstance(outputs[0], torch.Tensor) else None
    if alone and only is None:
        raise DomainError(f"{path} returns a value; a model must return a tensor of logits. {HOW}")
    sizes: tuple[Any, ...] = tuple(inputs[0].shape)  # open sizes are symbols
    if not sizes or isinstance(sizes[0], int):
        batch = sizes[0] if sizes else "no dimension"
        raise DomainError(
            f"{path} was exported for a fixed batch of {batch}; the batch must be dynamic. {HOW}"
        )
    if not all(isinstance(size, int) for size in sizes[1:]):
        raise DomainError(f"{path} leaves the size of one input open: {sizes}; only the batch may be. {HOW}")
    logits: tuple[Any, ...] = () if only is None else tuple(only.shape)
    if len(logits) == 1 or only is None:
        return tuple(int(size) for size in sizes[1:]), 0
    if len(logits) != 2 or not isinstance(logits[1], int):
        raise DomainError(f"{path} returns shape {logits}; logits must be (batch, classes). {HOW}")
    return tuple(int(size) for size in sizes[1:]), logits[1]


def _refuse_training(program: torch.export.ExportedProgram, path: Path) -> None:
    """Batch statistics and dropout are frozen into the graph: `eval()` cannot take them back."""
    for node in program.graph.nodes:
        name = getattr(getattr(node.target, "_schema", None), "name", "")
        position = TRAINING_ARGUMENT.get(name)
        if position is not None and len(node.args) > position and node.args[position] is True:
            raise DomainError(f"{path} was exported in training mode ({name} is active). {HOW}")


def _forget_traces(module: nn.Module) -> None:
    """Nodes keep the symbolic tensors they were traced with, which cannot be deep-copied."""
    for part in module.modules():
        for holder in (part, getattr(part, "graph_module", None)):
            for node in getattr(getattr(holder, "graph", None), "nodes", ()):
                node.meta.clear()


def _first_line(error: Exception) -> str:
    text = str(error).strip().partition("\n")[0].partition(". ")[0].rstrip(".")
    return f"{type(error).__name__}: {text or 'no reason given'}."


@contextmanager
def _silence() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside torch.export, nothing a user can act on
        yield


@contextmanager
def _weights_only() -> Iterator[None]:
    """torch.export falls back to full unpickling unless this variable is set."""
    before = os.environ.get("TORCH_FORCE_WEIGHTS_ONLY_LOAD")
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"]
        else:
            os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = before
