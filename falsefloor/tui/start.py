"""The way into the app: refuses terminals it cannot serve, sets Textual up for this line, then imports it.

Textual reads its frame rate and animation level when it is imported, so this module imports it late.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from falsefloor.errors import UsageError
from falsefloor.store.run_dir import find_run


def refusal(environ: Mapping[str, str], *, interactive: bool) -> str:
    """Why the app cannot run on this terminal and what to do instead, or nothing."""
    instead = "`falsefloor watch RUN` follows a run in plain text, `falsefloor show RUN` prints its table."
    if environ.get("TERM", "") in ("dumb", "unknown", ""):
        name = environ.get("TERM", "") or "not set"
        return f"the app needs a terminal that can place text; TERM is {name}. {instead}"
    return "" if interactive else f"the app needs a terminal for its input and output. {instead}"


def over_ssh(environ: Mapping[str, str]) -> bool:
    return any(environ.get(name) for name in ("SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT"))


def tune(environ: MutableMapping[str, str]) -> bool:
    """Frame rate and animation for this line; returns whether to follow the mouse.

    Over SSH every frame is bytes on the line and mouse tracking takes the terminal's own selection away.
    """
    remote = over_ssh(environ)
    environ.setdefault("TEXTUAL_FPS", "15" if remote else "60")
    environ.setdefault("TEXTUAL_ANIMATIONS", "none")
    environ.setdefault("TEXTUAL_SMOOTH_SCROLL", "0")
    return not remote


def run_app(root: Path, run: str | None = None) -> int:
    """Open the app on a run (a unique prefix, a path, `last`), or on the newest. Returns the exit code.

    Raises `UsageError` where the terminal cannot show it and `StoreError` where there is no such run.
    """
    interactive = sys.stdin.isatty() and (sys.stdout.isatty() or sys.stderr.isatty())
    if reason := refusal(os.environ, interactive=interactive):
        raise UsageError(reason)
    chosen = find_run(root, run) if run is not None else None
    mouse = tune(os.environ)
    from falsefloor.tui.app import Workbench

    app = Workbench(root, chosen)
    app.run(mouse=mouse)
    if app.farewell:
        print(app.farewell)
    return app.return_code or 0
