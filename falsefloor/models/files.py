"""Files that a reference names: found, or an error that says where they were looked for."""

from __future__ import annotations

from pathlib import Path

from falsefloor.errors import UsageError, did_you_mean


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
