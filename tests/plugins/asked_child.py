"""What the processes of test_process do: a module as `falsefloor.plugins.process.Child` runs them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from falsefloor.errors import UsageError


def main(request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    print("said aloud")
    yield {"pid": os.getpid(), "got": request}
    if (wish := request.get("then")) == "refuse":
        raise UsageError("not like this")
    if wish == "raise":
        raise ValueError("no luck")
    if wish == "exit":
        sys.exit(3)
    if wish == "abort":
        os.abort()
    if wish == "sleep":
        time.sleep(60)
    yield {"text": "x" * request.get("long", 1)}
