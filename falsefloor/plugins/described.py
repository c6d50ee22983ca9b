"""One row of the catalogue: a plugin, what it says about itself, and whether it can be used.

Everything here came out of a stranger's code through a pipe or a file, so reading it is strict about types
and takes control characters out: a row is printed on a terminal.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, get_args

from falsefloor.api import Axes, CodeInfo
from falsefloor.checks.verdicts import SEVERITIES
from falsefloor.errors import PluginError
from falsefloor.options import Option
from falsefloor.plugins.contract import CLAIMS
from falsefloor.plugins.names import OWN, Plugin

Status = Literal["healthy", "broken", "incompatible", "duplicate", "timed out"]
STATUSES: tuple[Status, ...] = get_args(Status)
LONGEST_PAGE = 20_000
"""Letters of a code's page; ours have 2,000."""
MOST_SHOWN = 12
"""Columns and pictures that an estimator may add."""
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
