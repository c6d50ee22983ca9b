"""What the allocator does with memory that a forward or backward gave back.

glibc returns the top of its heap to the system as soon as twice the largest block it has mapped and freed is
free there, and then takes it again page by page. A convolutional net's backward frees and takes some tens of
megabytes each time: 28,000 page faults for ten backwards of 1,000 digits, 300 ms of processor time where 190
were enough. Whether it happens depends on what the process did before, so times could not be compared either.
"""

from __future__ import annotations

from functools import cache

import torch

LARGEST = 31 * 2**20
"""glibc learns from blocks up to 32 MB; it then keeps up to twice as much for the next tensors."""


@cache
def keep_freed_memory() -> None:
    """Let glibc learn from one large block, once a process. The block is not written to, so it takes no
    memory.

    A process whose environment sets MALLOC_TRIM_THRESHOLD_ or MALLOC_MMAP_THRESHOLD_ keeps what was set;
    other allocators take no notice.
    """
    torch.empty(LARGEST, dtype=torch.uint8)


__all__ = ["keep_freed_memory"]
