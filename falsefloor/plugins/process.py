"""The parent's side of a child process that runs strangers' code: started apart, listened to, surely ended.

Requests go in as lines of JSON on stdin; answers come back on a pipe of their own, since a plugin may print;
stdout and stderr are files of ours. The child has its own session, so that ending it ends what it started,
and it ends by itself when our end of stdin closes.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import Any

_BOOT = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
import importlib
importlib.import_module(sys.argv[2]).main(int(sys.argv[3]))
"""
LONGEST_LINE = 8 * 2**20
"""Bytes of one answer; more is no answer."""


class GoneError(Exception):
    """The child ended, or sent something that is no answer."""


class SilentError(Exception):
    """The child did not answer in time."""


class Child:
    """A running child; ``module`` is the dotted name of a module of ours with a ``main(fd)``.

    stderr is the last that it wrote there, a crash's Python stack, once it ended.
    """

    stderr = ""

    def __init__(self, module: str) -> None:
        self._stdout, self._stderr = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115
        self._reader, writer = os.pipe()
        os.set_blocking(self._reader, False)
        path = json.dumps([os.path.abspath(folder) for folder in sys.path])  # noqa: PTH100  (text for text)
        try:
            self._process = subprocess.Popen(
                # -P: a torch.py in the working directory must not be imported in torch's place
                [sys.executable, "-P", "-c", _BOOT, path, module, str(writer)],
                stdin=subprocess.PIPE,
                stdout=self._stdout,
                stderr=self._stderr,
                pass_fds=[writer],
                start_new_session=True,
                env={**os.environ, "OMP_NUM_THREADS": "1", "TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1"},
            )
        finally:
            os.close(writer)
        self._pending = b""
        self._status: int | None = None

    def send(self, request: Mapping[str, Any]) -> None:
        """One line in; a child that is gone is noticed when its answer is read."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()

    def read(self, *, until: float) -> dict[str, Any]:
        """The next answer. Raises `SilentError` at the monotonic time ``until``, `GoneError` at the end."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._reader, selectors.EVENT_READ)
            while b"\n" not in self._pending:
                left = until - time.monotonic()
                if left <= 0:
                    raise SilentError
                if not selector.select(min(left, 0.2)):
                    # A process that a plugin forked may hold the pipe open after the child is gone.
                    if self._process.poll() is not None:
                        raise GoneError
                    continue
                data = os.read(self._reader, 65536)
                if not data or len(self._pending) > LONGEST_LINE:
                    raise GoneError
                self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        try:
            answer = json.loads(line)
        except ValueError as error:
            raise GoneError from error
        if not isinstance(answer, dict):
            raise GoneError
        return answer

    def end(self) -> int:
        """End the child and whatever it started; its status, its own where it ended by itself."""
        if self._status is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=0.2)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            if self._process.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    self._process.stdin.close()
            self._status = self._process.wait()
            os.close(self._reader)
            self._stdout.close()
            with self._stderr:
                self._stderr.seek(max(0, self._stderr.seek(0, os.SEEK_END) - 3000))
                self.stderr = self._stderr.read().decode(errors="replace")
        return self._status

    def death(self) -> str:
        """How it ended, in words."""
        status = self.end()
        if status < 0:
            with contextlib.suppress(ValueError):
                return f"crashed the interpreter ({signal.Signals(-status).name})"
        return f"ended the interpreter with status {status}"


__all__ = ["Child", "GoneError", "SilentError"]
