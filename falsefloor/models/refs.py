"""What a reference names: a file, or some of a numbered collection; or an error that says what there is."""

from __future__ import annotations

import re
from pathlib import Path

from falsefloor.errors import UsageError, did_you_mean

PART = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")


def select(text: str, /, *, count: int, what: str) -> list[int]:
    """Indices named by ``text`` ("3", "0-9", "0-9,20"), in its order, each once; ranges include both ends.

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


def existing_file(ref: str, /, *, kind: str, form: str) -> Path:
    """The file that ``ref`` names, ``~`` expanded. ``kind`` and ``form`` are for the error (UsageError)."""
    if not ref:
        raise UsageError(f"No file was named; write {form}.")
    try:
        path = Path(ref).expanduser()
        found = path.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # an unknown home, a name too long, a null byte
        raise UsageError(f"{ref!r} cannot be a file ({error}); write {form}.") from error
    if found:
        return path
    if path.is_dir():
        raise UsageError(f"{path} is a folder, not the {kind} that was asked for; write {form}.")
    folder = path.parent
    if not folder.is_dir():
        raise UsageError(
            f"There is no {kind} {path}: its folder {folder.resolve()} does not exist. Write {form}."
        )
    siblings = [each.name for each in folder.iterdir() if each.suffix == path.suffix and each.is_file()]
    nearby = did_you_mean(path.name, siblings) if siblings else f"No {path.suffix or 'such'} file is there."
    raise UsageError(f"There is no {kind} {path.name!r} in {folder.resolve()}. {nearby}")
