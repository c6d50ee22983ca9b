"""What every test starts from."""

from __future__ import annotations

import os

# Two threads on two busy cores make small models several times slower; children inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
