"""Memory that a backward frees is there for the next one."""

import platform
import subprocess
import sys

import pytest

COUNT = """
import resource, torch
from falsefloor.subjects.subject import keep_freed_memory
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
    counted = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, check=True).stdout
    # 20 times 16 MB are 82,000 pages; without it they are faulted in, unless something before was as large
    assert int(counted) < 2_000
