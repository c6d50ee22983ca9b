"""What may stand in an exported program before torch reads it.

`torch.export.load` runs code from the file in more places than its pickles: it unpickles opaque constants
whatever the weights-only setting, loads compiled libraries, evaluates shape expressions with sympy, imports
the types that a tree specification names, executes stored guards, and looks operators up all over torch.
So the archive's description is read first, and all of it must be on a list of what honest exports contain.
Stored guards are left alone here: nothing runs them unless `ExportedProgram.module()` is called.
"""

from __future__ import annotations

import ast
import io
import json
import re
import zipfile
from collections.abc import Iterator
from typing import Any

from falsefloor.errors import UsageError

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
