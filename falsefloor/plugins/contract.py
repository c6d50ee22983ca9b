"""What a loaded object must offer to be a plugin of its kind, and what it says about itself.

The same test runs in the describing child (so that a screen can say why a plugin cannot be used) and where a
plugin is loaded to be used.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Mapping
from typing import Any

from falsefloor.api import API_VERSION, NORMS, Axes, CodeInfo
from falsefloor.checks.verdicts import SEVERITIES
from falsefloor.errors import PluginError
from falsefloor.options import read_options

CLAIMS = ("lower_estimate", "lower_bound", "upper_bound")
_CALLS = {
    "estimator": ("subject, inputs, labels, /, *, norm, context", 3, ("norm", "context")),
    "masker": ("part, /", 1, ()),
    "gradient": ("subject, /", 1, ()),
    "model": ("ref, /", 1, ()),
    "input": ("ref, model, /", 2, ()),
    "check": ("facts, /", 1, ()),
}


class IncompatibleError(PluginError):
    """A plugin made for another version of the contract."""


def inspect_plugin(kind: str, found: object) -> dict[str, Any]:
    """What an object says about itself as a plugin of a kind, as JSON: options, claim, norms, codes, ….

    Raises `IncompatibleError` for another version of the contract, `PluginError` for a broken one.
    """
    name = getattr(found, "__name__", type(found).__name__)
    version = getattr(found, "api_version", None)
    if isinstance(version, bool) or not isinstance(version, int):
        raise PluginError(f"{name} has no api_version; add `api_version: ClassVar[int] = {API_VERSION}`.")
    if version != API_VERSION:
        newer = "falsefloor" if version > API_VERSION else "the plugin"
        raise IncompatibleError(
            f"{name} is made for version {version} of the contract, this is {API_VERSION}: upgrade {newer}."
        )
    if kind != "check" and not isinstance(found, type):
        raise PluginError(
            f"{name} must be a class whose fields are its parameters, not {type(found).__name__}."
        )
    _callable(kind, found, name)
    claim, norms = _claim(found, name) if kind == "estimator" else (None, ())
    return {
        "options": [option.to_json() for option in read_options(found)],
        "claim": claim,
        "norms": list(norms),
        "summary": _summary(found),
        "displacement": kind == "masker" and callable(getattr(found, "displacement", None)),
        "codes": _codes(found, name) if kind == "check" else {},
        **(_shown(found, name) if kind == "estimator" else {}),
    }


def _callable(kind: str, found: object, name: str) -> None:
    shape, positional, keywords = _CALLS[kind]
    wanted = f"{name} must be callable as ({shape})"
    call = getattr(found, "__call__", None)  # noqa: B004  (of a class we want its instances' call, not its own)
    if isinstance(found, type):
        call = next((c.__dict__["__call__"] for c in found.__mro__ if "__call__" in c.__dict__), None)
        positional += 1
    if call is None:
        raise PluginError(f"{wanted}; it has no __call__.")
    try:
        signature = inspect.signature(call)
    except (TypeError, ValueError):
        return  # written in C: nothing to compare, the kit will call it
    try:
        signature.bind(*range(positional), **dict.fromkeys(keywords))
    except TypeError as error:
        raise PluginError(f"{wanted}; it takes {signature} ({error}).") from error


def _claim(found: object, name: str) -> tuple[str, tuple[str, ...]]:
    claim, norms = getattr(found, "claim", None), getattr(found, "norms", None)
    if claim not in CLAIMS:
        raise PluginError(f"{name}.claim is {claim!r}; it must be one of {', '.join(CLAIMS)}.")
    known = ", ".join(sorted(NORMS))
    if isinstance(norms, str) or not isinstance(norms, frozenset | set | tuple | list) or not norms:
        raise PluginError(f"{name}.norms is {norms!r}; it must be a frozenset of one or more of {known}.")
    if not set(norms) <= NORMS:
        raise PluginError(f"{name}.norms is {norms!r}; there are only {known}.")
    return claim, tuple(sorted(norms))


def _shown(found: object, name: str) -> dict[str, Any]:
    """The optional members that say how an estimator's numbers are to be shown."""
    columns, axes = getattr(found, "columns", {}), getattr(found, "axes", {})
    if not isinstance(columns, Mapping) or not all(
        isinstance(text, str) for pair in columns.items() for text in pair
    ):
        raise PluginError(f"{name}.columns must map names of evidence to headings, not be {columns!r}.")
    if not isinstance(axes, Mapping) or not all(isinstance(one, Axes) for one in axes.values()):
        raise PluginError(f"{name}.axes must map names of curves to falsefloor.api.Axes, not be {axes!r}.")
    return {
        "columns": dict(columns),
        "axes": {str(curve): dataclasses.asdict(one) for curve, one in axes.items()},
        "elsewhere": callable(getattr(found, "describe_subject", None)),
    }


def _codes(found: object, name: str) -> dict[str, dict[str, str]]:
    codes = getattr(found, "codes", None)
    if not isinstance(codes, Mapping) or not codes:
        raise PluginError(f"{name}.codes is {codes!r}; it must map each code to a falsefloor.api.CodeInfo.")
    for code, info in codes.items():
        if not isinstance(code, str) or not re.fullmatch(r"([A-Za-z0-9._-]+:)?[A-Za-z0-9._-]+", code):
            raise PluginError(f"{name}.codes: {code!r} is no code; use letters, digits, dot, dash.")
        if not isinstance(info, CodeInfo) or info.severity not in SEVERITIES:
            raise PluginError(
                f"{name}.codes[{code!r}] must be a CodeInfo with a severity of {', '.join(SEVERITIES)}."
            )
    return {code: dataclasses.asdict(info) for code, info in codes.items()}


def _summary(found: object) -> str:
    """The first line of its documentation; not the signature that `dataclass` puts where there is none."""
    owner = found if isinstance(found, type) or inspect.isfunction(found) else type(found)
    text = (inspect.getdoc(owner) or "").strip()
    return "" if text.startswith(f"{owner.__name__}(") else text.partition("\n")[0]
