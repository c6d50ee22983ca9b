"""Which plugins are installed, from metadata alone: nothing of a plugin is imported here.

Installing a package is consent to use it; ``FALSEFLOOR_PLUGINS`` narrows that: a comma-separated list of the
third-party plugins allowed (``NAME``, ``DIST`` or ``DIST/NAME``), empty for none. Our own are always there.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from falsefloor.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    # The standard library's reader of metadata is imported where it is used: what is shown first needs none.
    from importlib.metadata import Distribution

KINDS = MappingProxyType(
    {
        "estimator": "falsefloor.estimators",
        "masker": "falsefloor.maskers",
        "gradient": "falsefloor.gradients",
        "model": "falsefloor.models",
        "input": "falsefloor.inputs",
        "check": "falsefloor.checks",
    }
)
"""Kind of plugin to entry-point group."""

OWN = "falsefloor"
ALLOW = "FALSEFLOOR_PLUGINS"
TRACE = "FALSEFLOOR_TRACE_PLUGINS"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
_GROUPS = {group: kind for kind, group in KINDS.items()}


@dataclass(frozen=True)
class Plugin:
    """One entry point: ``dist/name`` offers ``target`` ("module:attribute") as a plugin of a kind.

    installed is a digest of the distribution's list of files: it changes when another build is installed.
    """

    kind: str
    name: str
    dist: str
    version: str
    target: str
    installed: str = ""
    editable: bool = False

    @property
    def own(self) -> bool:
        return self.dist == OWN

    @property
    def spec(self) -> str:
        """The name that always works, whoever else claims the short one."""
        return f"{self.dist}/{self.name}"

    @property
    def well_named(self) -> bool:
        """Whether the name can be written in a study at all."""
        return bool(_NAME.match(self.name))


LIVE: dict[Plugin, object] = {}
"""Handed over as objects, while this process judges with them: see `falsefloor.plugins.loading`."""


def discover() -> tuple[Plugin, ...]:
    """All plugins allowed, by kind, ours first. Never raises: unreadable metadata is traced and passed by."""
    # Once each: a file of entry points may repeat a line, and a package may be installed twice (an
    # environment upon another): the first on the path is the one that is imported.
    from importlib.metadata import distributions

    offered = [p for dist in distributions() for p in _offers(dist)]
    found = list({(p.kind, p.spec, p.target): p for p in reversed([*offered, *LIVE])}.values())
    order = list(KINDS)
    found.sort(key=lambda p: (order.index(p.kind), not p.own, p.name, p.dist))
    return tuple(found)


def resolve(plugins: Iterable[Plugin], kind: str, asked: str) -> Plugin:
    """The plugin that a name or ``DIST/NAME`` stands for.

    On a clash ours wins; between strangers the short name is refused, or installing one more package would
    silently change what a study runs. Raises `UsageError` naming what exists.
    """
    if kind not in KINDS:
        raise UsageError(f"There is no kind of plugin {kind!r}. {did_you_mean(kind, KINDS)}")
    rows = [plugin for plugin in plugins if plugin.kind == kind]
    dist, _, name = asked.rpartition("/")
    matches = [p for p in rows if p.name == name and (not dist or p.dist == canonical(dist))]
    if not matches:
        raise UsageError(f"There is no {kind} {asked!r}. {_cure(asked, rows)}")
    if matches[0].own or len({plugin.dist for plugin in matches}) == 1:
        return matches[0]
    choices = " or ".join(plugin.spec for plugin in matches)
    raise UsageError(f"The {kind} {asked!r} is offered by several packages; write {choices}.")


def canonical(dist: str) -> str:
    """A distribution's name as package indexes compare it: lower case, one dash for every run of -_. ."""
    return re.sub(r"[-_.]+", "-", dist).lower()


def allowed(name: str, dist: str) -> bool:
    """Whether `FALSEFLOOR_PLUGINS` lets a plugin in; unset lets all in."""
    names = os.environ.get(ALLOW)
    if names is None or dist == OWN:
        return True
    chosen = {part.strip() for part in names.split(",")} - {""}
    for choice in chosen:
        wanted_dist, _, wanted = choice.rpartition("/")
        if wanted_dist and (canonical(wanted_dist), wanted) == (dist, name):
            return True
        if not wanted_dist and (wanted == name or canonical(wanted) == dist):
            return True
    return False


def trace(message: str) -> None:
    """A line on stderr where ``FALSEFLOOR_TRACE_PLUGINS`` asks for it."""
    if os.environ.get(TRACE, "") not in ("", "0"):
        print(f"falsefloor plugins: {message}", file=sys.stderr)


def _offers(dist: Distribution) -> list[Plugin]:
    from importlib.metadata import distribution

    try:
        text = dist.read_text("entry_points.txt")
        # Reading a name and a version parses the whole METADATA: only for those that plug in here.
        if not text or "falsefloor." not in text:
            return []
        metadata = dist.metadata
        name, version = canonical(metadata["Name"]), metadata["Version"]
        if distribution(name).read_text("entry_points.txt") != text:
            trace(f"{name} {version} is hidden by another version of it earlier on the path")
            return []
        direct = dist.read_text("direct_url.json") or ""
        digest = hashlib.sha256(f"{dist.read_text('RECORD') or ''}{direct}{text}".encode()).hexdigest()[:16]
        points = [point for point in dist.entry_points if point.group in _GROUPS]
    except Exception as error:  # a stranger's damaged metadata must not take ours away
        trace(f"unreadable metadata: {error!r}")
        return []
    return [
        Plugin(
            kind=_GROUPS[point.group],
            name=point.name,
            dist=name,
            version=version,
            target=point.value,
            installed=digest,
            editable='"editable"' in direct,
        )
        for point in points
        if allowed(point.name, name)
    ]


def _cure(asked: str, rows: list[Plugin]) -> str:
    if not any(plugin.own for plugin in rows):
        return "Not even falsefloor's own are registered: install it with `pip install -e .` or from a wheel."
    limit = os.environ.get(ALLOW)
    hint = f" ({ALLOW}={limit!r} hides all third-party plugins but those named.)" if limit is not None else ""
    return did_you_mean(asked, {plugin.name for plugin in rows} | {p.spec for p in rows if not p.own}) + hint
