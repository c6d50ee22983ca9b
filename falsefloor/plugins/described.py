"""What a plugin says about itself: a row of the catalogue, and what a loaded object must offer to have one.

The object is held to the contract in the describing child (so that a screen can say why a plugin cannot be
used) and where it is loaded to be used. A row came out of a stranger's code through a pipe or a file, so
reading it is strict about types and takes control characters out: it is printed on a terminal.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, get_args

from falsefloor.api import API_VERSION, NORMS, Axes, CodeInfo
from falsefloor.checks.verdicts import SEVERITIES
from falsefloor.errors import PluginError
from falsefloor.options import Option, read_options
from falsefloor.plugins.names import OWN, Plugin

Status = Literal["healthy", "broken", "incompatible", "duplicate", "timed out", "being described"]
STATUSES: tuple[Status, ...] = get_args(Status)
LONGEST_PAGE = 20_000
"""Letters of a code's page; ours have 2,000."""
MOST_SHOWN = 12
"""Columns and pictures that an estimator may add."""
CLAIMS = ("lower_estimate", "lower_bound", "upper_bound")
_CALLS = {
    "estimator": ("subject, inputs, labels, /, *, norm, context", 3, ("norm", "context")),
    "masker": ("part, /", 1, ()),
    "gradient": ("subject, /", 1, ()),
    "model": ("ref, /", 1, ()),
    "input": ("ref, model, /", 2, ()),
    "check": ("facts, /", 1, ()),
}
T = TypeVar("T")
_LONGEST = {"reason": 600, "summary": 200, "traceback": 4000}


@dataclass(frozen=True)
class Described:
    """A plugin with its status; ``reason`` says why it is not healthy, or what a healthy one does wrong.

    A ``duplicate`` is usable, by ``DIST/NAME`` only. codes carry the names that findings show.
    """

    plugin: Plugin
    status: Status
    reason: str = ""
    traceback: str = ""
    options: tuple[Option, ...] = ()
    claim: str | None = None
    norms: tuple[str, ...] = ()
    summary: str = ""
    displacement: bool = False
    codes: Mapping[str, CodeInfo] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    axes: Mapping[str, Axes] = field(default_factory=dict)
    elsewhere: bool = False
    """whether its claims are about another function than the subject"""

    @property
    def kind(self) -> str:
        return self.plugin.kind

    @property
    def name(self) -> str:
        """The name, safe to print; only one that nobody can type differs from the plugin's own."""
        return printable(self.plugin.name, longest=80)

    @property
    def dist(self) -> str:
        return self.plugin.dist

    @property
    def version(self) -> str:
        return self.plugin.version

    @property
    def spec(self) -> str:
        return self.plugin.spec

    @property
    def usable(self) -> bool:
        return self.status in ("healthy", "duplicate")

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON: `plugins list --json` and the cache."""
        plugin = self.plugin
        return {
            "kind": plugin.kind,
            "name": self.name,
            "dist": plugin.dist,
            "version": plugin.version,
            "target": plugin.target,
            "status": self.status,
            "reason": self.reason,
            "traceback": self.traceback,
            "options": [option.to_json() for option in self.options],
            "claim": self.claim,
            "norms": list(self.norms),
            "summary": self.summary,
            "displacement": self.displacement,
            "codes": {code: dataclasses.asdict(info) for code, info in self.codes.items()},
            "columns": dict(self.columns),
            "axes": {name: dataclasses.asdict(one) for name, one in self.axes.items()},
            "elsewhere": self.elsewhere,
        }

    @classmethod
    def from_json(cls, plugin: Plugin, data: Mapping[str, Any]) -> Described:
        """The row that a child or the cache holds about a plugin. Raises `PluginError` for anything else."""
        try:
            status, claim, norms = data["status"], data.get("claim"), data.get("norms", ())
            if status not in STATUSES or (claim is not None and claim not in CLAIMS):
                raise ValueError(f"status {status!r}, claim {claim!r}")
            codes = {code: CodeInfo(**info) for code, info in data.get("codes", {}).items()}
            if any(info.severity not in SEVERITIES for info in codes.values()):
                raise ValueError("an unknown severity")
            return cls(
                plugin=plugin,
                status=status,
                options=tuple(_option(option) for option in data.get("options", ())),
                claim=claim,
                norms=tuple(str(norm) for norm in norms),
                displacement=bool(data.get("displacement", False)),
                columns=_few({str(name): _words(head) for name, head in data.get("columns", {}).items()}),
                axes=_few({str(name): _axes(one) for name, one in data.get("axes", {}).items()}),
                elsewhere=bool(data.get("elsewhere", False)),
                codes={qualified(plugin.dist, code): clean_info(info) for code, info in codes.items()},
                **{
                    name: printable(str(data.get(name, "")), longest=longest)
                    for name, longest in _LONGEST.items()
                },
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise PluginError(f"not the description of a plugin: {error!r}") from error


def qualified(dist: str, code: str) -> str:
    """A code as findings show it: ours bare, a stranger's as ``DIST:NAME`` whether it wrote that or not."""
    return code if dist in (OWN, code.partition(":")[0]) else f"{dist}:{code.rpartition(':')[2]}"


def printable(text: str, *, longest: int) -> str:
    """Text that cannot move a cursor: control characters escaped, the middle of long text left out."""
    safe = "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
    half = longest // 2
    return safe if len(safe) <= longest else f"{safe[:half]} … {safe[-half:]}"


def clean_info(info: CodeInfo) -> CodeInfo:
    """A code's row as it may be shown: its words escaped and cut, a page longer than the others."""
    words = {
        f.name: printable(str(getattr(info, f.name)), longest=LONGEST_PAGE if f.name == "page" else 2000)
        for f in dataclasses.fields(info)
    }
    return dataclasses.replace(info, **{**words, "severity": info.severity})  # type: ignore[arg-type]


def _words(text: object) -> str:
    return printable(" ".join(str(text).split()), longest=60)


def _axes(data: Mapping[str, Any]) -> Axes:
    words = {name: _words(data.get(name, "")) for name in ("title", "x", "y", "along")}
    return Axes(**words, log_x=bool(data.get("log_x")), log_y=bool(data.get("log_y")))


def _few(shown: dict[str, T]) -> dict[str, T]:
    """The first of them: a table has no room for more."""
    return {printable(name, longest=60): shown[name] for name in list(shown)[:MOST_SHOWN]}


def _option(data: Mapping[str, Any]) -> Option:
    option = Option.from_json(data)
    return dataclasses.replace(option, help=printable(option.help, longest=600))


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
