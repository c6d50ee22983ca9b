"""Exported programs (`export:FILE.pt2`): a model as data, loaded without running code that came with it.

Layers keep their names, so maskers can be placed at them.

`torch.export.load` runs code from the file in more places than its pickles: it unpickles opaque constants
whatever the weights-only setting, loads compiled libraries, evaluates shape expressions with sympy, imports
the types that a tree specification names, executes stored guards, and looks operators up all over torch. So
what may stand in the file is vetted before torch reads it: its description is read first, and all of it must
be on a list of what honest exports contain. Stored guards are left alone: nothing runs them unless
`ExportedProgram.module()` is called.
"""

from __future__ import annotations

import ast
import copy
import io
import json
import os
import re
import warnings
import zipfile
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
from falsefloor.models.refs import existing_file, kind_of_file

MEMBER = re.compile(
    r"[^/]+/(models/[^/]+\.json|data/weights/[^/]+|data/constants/[^/]+|data/sample_inputs/[^/]+\.pt|extra/[^/]+|"
    r"(\.data/)?(version|serialization_id|format_version|storage_alignment)|archive_format|archive_version|byteorder)"
)
OPERATOR = re.compile(
    r"torch\.ops\.(aten|prims|torchvision|quantized_decomposed)\.\w+(\.\w+)?|torch\.sym_\w+|math\.\w+|"
    r"torch\.ops\.higher_order\.(cond|while_loop|map_impl|scan|wrap_with_set_grad_enabled|wrap_with_autocast)|"
    r"_operator\.(getitem|add|sub|mul|floordiv|truediv|mod|neg|pow|eq|ne|lt|le|gt|ge|and_|or_|not_)"
)
FILE_OPERATORS = re.compile(r"torch\.ops\.aten\.(from_file|_?save|load)\b.*")
PAYLOAD = re.compile(r"(weight|tensor)_\d+")
SYMBOL = re.compile(r"[suz]\w?f?\d+|true|false|int_oo")
WORD = re.compile(r"[suz]?\w?f?[\d.]+")
SHAPE_FUNCTION = re.compile(
    r"(Floor|Ceil|Clean|IntTrue|FloatTrue)Div|ModularIndexing|Where|(Python)?Mod|(Ceil|Floor|Trunc|Round)ToInt|"
    r"(Trunc)?ToFloat|[LR]Shift|PowByNatural|FloatPow|Identity|Max|Min|Abs|Eq|Ne|Gt|Lt|Ge|Le|And|Or|Not|Piecewise|"
    r"Symbol|Integer|Rational|Float|Add|Mul|Pow|Equality|Unequality|((Strict)?(Less|Greater)Than)"
)
SHAPE_SYNTAX = (
    ast.Expression, ast.BinOp, ast.UnaryOp, ast.Compare, ast.Call, ast.keyword, ast.Name, ast.Constant,
    ast.Load, ast.operator, ast.unaryop, ast.cmpop,
)  # fmt: skip
TREE_TYPES = frozenset(("builtins.tuple", "builtins.list", "builtins.dict"))
LARGEST_DESCRIPTION = 256 * 2**20


def vet(data: bytes, /, *, name: str) -> None:
    """Raises UsageError unless ``data`` is an exported program of known parts only; ``name`` is for it."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            _vet_members(members, comment=archive.comment, name=name)
            described = [
                json.loads(archive.read(member)) for member in members if member.filename.endswith(".json")
            ]
    except (zipfile.BadZipFile, EOFError, ValueError, RecursionError, NotImplementedError) as error:
        raise UsageError(
            f"{name} is no exported program, or is truncated ({error}). "
            "Write one with torch.export.save(torch.export.export(model, …), FILE)."
        ) from error
    for description in described:
        for node in _walk(description):
            _vet_node(node, name=name)


def _refuse(name: str, what: str) -> UsageError:
    return UsageError(
        f"{name} was refused, nothing in it was run: {what}, "
        "which can execute code and is in no plain export. "
        "If you trust its author, load it in a Python file of your own and name it as python:FILE.py:factory."
    )


def _vet_members(members: list[zipfile.ZipInfo], *, comment: bytes, name: str) -> None:
    if not any("/models/" in member.filename for member in members):
        raise ValueError("it holds no models/*.json; what torch wrote before 2.8 must be exported again")
    folded = {member.filename.casefold() for member in members}
    if len(folded) != len(members) or comment:
        raise _refuse(name, "its table of contents can be read in two ways")
    for member in members:
        if MEMBER.fullmatch(member.filename) is None:
            raise _refuse(name, f"it contains {member.filename!r}")
        if member.filename.endswith(".json") and member.file_size > LARGEST_DESCRIPTION:
            raise _refuse(name, f"its description {member.filename!r} has {member.file_size:,} bytes")


def _walk(value: Any) -> Iterator[dict[str, Any]]:
    stack = [value]
    while stack:
        top = stack.pop()
        if isinstance(top, dict):
            yield top
            stack.extend(top.values())
        elif isinstance(top, list):
            stack.extend(top)


def _vet_node(node: dict[str, Any], *, name: str) -> None:
    target, payload, expression = node.get("target"), node.get("path_name"), node.get("expr_str")
    if target is not None and (
        not isinstance(target, str) or OPERATOR.fullmatch(target) is None or FILE_OPERATORS.fullmatch(target)
    ):
        raise _refuse(name, f"it calls {target!r}")
    if payload is not None and not (isinstance(payload, str) and PAYLOAD.fullmatch(payload)):
        raise _refuse(name, f"it holds {payload!r}, an object that is not a tensor")
    if expression is not None and not _is_plain_shape(expression):
        raise _refuse(name, f"it computes a shape by {expression!r}")
    for key in ("in_spec", "out_spec"):
        if key in node and not _is_plain_tree(node[key]):
            raise _refuse(
                name, f"its inputs or outputs have a structure of foreign types ({node[key]!r:.80})"
            )


def _is_plain_shape(expression: Any) -> bool:
    """Whether ``expression`` is arithmetic on numbers, symbols like s0 and known functions."""
    if not isinstance(expression, str) or len(expression) > 10_000:
        return False
    try:
        tree = ast.parse(expression, mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    functions = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if not isinstance(node, SHAPE_SYNTAX):
            return False
        known: object = True
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            known = WORD.fullmatch(node.value)  # sympy evaluates strings too
        elif isinstance(node, ast.Constant):
            known = isinstance(node.value, int | float)
        elif isinstance(node, ast.Name):
            known = (SHAPE_FUNCTION if id(node) in functions else SYMBOL).fullmatch(node.id)
        if not known:
            return False
    return True


def _is_plain_tree(specification: Any) -> bool:
    """Whether a tree has tuples, lists and dicts only; "__" and escapes could name a type to import."""
    if not isinstance(specification, str):
        return False
    if not specification:
        return True
    if "__" in specification or "\\u" in specification:
        return False
    try:
        parsed = json.loads(specification)
    except (ValueError, RecursionError):
        return False
    return all(node.get("type") is None or node["type"] in TREE_TYPES for node in _walk(parsed))


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
    reads it, and its pickles are read as weights only. Raises UsageError
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
