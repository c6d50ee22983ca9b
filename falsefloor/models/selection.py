"""Which of a numbered collection is meant: "3", "0-9", "0-9,20". Shared by every input source that counts."""

from __future__ import annotations

import re

from falsefloor.errors import UsageError

PART = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")


def select(text: str, /, *, count: int, what: str) -> list[int]:
    """Indices named by ``text``, in its order, each once; ranges include both ends.

    ``count`` is how many there are, ``what`` names the collection in errors. Raises UsageError.
    """
    chosen: dict[int, None] = {}
    for part in text.split(","):
        found = PART.fullmatch(part.strip())
        if found is None:
            raise UsageError(
                f"{what}: {part.strip()!r} in {text!r} is neither a number nor a range. "
                f"There are 0 to {count - 1}; write 3, 0-9 or 0-9,20."
            )
        first = int(found[1])
        last = int(found[2]) if found[2] is not None else first
        if last < first:
            raise UsageError(f"{what}: the range {part.strip()!r} runs backwards; write {last}-{first}.")
        if last >= count:
            raise UsageError(f"{what}: {part.strip()!r} was asked for, but there are only 0 to {count - 1}.")
        chosen.update(dict.fromkeys(range(first, last + 1)))
    return list(chosen)
