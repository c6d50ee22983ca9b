"""Asks a process of its own that loads a model: no command does so in this one."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from falsefloor.errors import FalsefloorError

LIMIT = 600.0
"""Seconds that loading a model and looking at a few points may take."""


def ask(module: str, *words: str, doing: str) -> dict[str, Any]:
    """The JSON that ``python -m module words`` answers; what it narrates goes to our stderr.

    Raises `FalsefloorError` with the child's own message and exit code, or where it breaks off.
    """
    command = [sys.executable, "-m", module, *words]
    try:
        child = subprocess.run(command, stdout=subprocess.PIPE, timeout=LIMIT, check=False)
        answer: dict[str, Any] = json.loads(child.stdout)
    except subprocess.TimeoutExpired as error:
        raise FalsefloorError(f"{doing} took more than {LIMIT:.0f} s.") from error
    except ValueError as error:
        raise FalsefloorError(f"{doing} broke off; what it said is above.") from error
    if "error" in answer:
        failure = FalsefloorError(answer["error"])
        failure.exit_code = int(answer["exit_code"])
        raise failure
    return answer
