"""Memory that a backward frees is there for the next one."""

import platform
import subprocess
import sys

import pytest

COUNT = """
import resource, sys, torch
from falsefloor.subjects.memory import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()

def step():
    held = [torch.ones(2**20) for _ in range(4)]

for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators have other rules")
def test_the_next_tensors_fault_no_pages_in() -> None:
    bare, kept = (
        int(subprocess.run([sys.executable, "-c", COUNT, how], capture_output=True, check=True).stdout)
        for how in ("bare", "kept")
    )
    # 20 times 16 MB are 82,000 pages
    assert kept < 2_000 < bare
