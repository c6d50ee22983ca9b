"""What a reference names: a file, or some of a numbered collection; or an error that says what there is.

An error may end with what a file is that was given where another was expected, and how it is used: told from
its first bytes and its table of contents; nothing in it is read, run or unpickled. Without torch, so that a
reference can be looked at before anything is started.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Collection, Iterable
from pathlib import Path

from falsefloor.errors import UsageError, did_you_mean

PART = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")


def split_options(
    parts: Iterable[str], known: Collection[str], *, what: str, form: str
) -> tuple[dict[str, str], str]:
    """The options and the rows that follow a name: "key=value,key=value" and "0-9", in any order.

    Raises `UsageError` that names the nearest of the ``known`` options; ``form`` is how it is written.
    """
    options: dict[str, str] = {}
    rows = ""
    for part in parts:
        if "=" not in part:
            rows = part
            continue
        for assignment in part.split(","):
            key, _, value = assignment.partition("=")
            if key not in known:
                near = did_you_mean(key, known)
                raise UsageError(f"{what}: there is no option {key!r}. {near} Write {form}.")
            options[key] = value
    return options, rows


def at_of(ref: str, /) -> tuple[str, str | None]:
    """A model's reference without ``:at=NAME`` at its end, and the name of that submodule."""
    found = re.fullmatch(r"(.+?)[:,]at=([\w.]+)", ref)
    return (found[1], found[2]) if found else (ref, None)


def select(text: str, /, *, count: int, what: str) -> list[int]:
    """Indices named by ``text`` ("3", "0-9", "0-9,20"), in its order, each once; ranges include both ends.

    ``count`` is how many there are, ``what`` names the collection in errors. Raises UsageError.
    """
    chosen: dict[int, None] = {}
    for part in text.split(","):
        found = PART.fullmatch(part.strip())
        if found is None:
            raise UsageError(
                f"{what}: {part.strip()!r} is neither a number nor a range. There are 0 to {count - 1};"
                " write 3, 0-9 or 0-9,20."
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


EMBEDDED = 500
"""Digits that are held out."""


def embedded() -> list[str]:
    """Names of the embedded models."""
    return sorted(path.stem for path in (Path(__file__).parent / "data").glob("*.safetensors"))


def look(kind: str, scheme: str, rest: str, /) -> None:
    """What can be known of a reference to our own sources, before a process loads it. Raises `UsageError`."""
    rest = at_of(rest)[0] if kind == "model" else rest
    place = rest.rpartition(":")[0] if not rest.endswith(".py") and ":" in rest else rest
    if (kind, scheme) == ("model", "digits") and rest not in embedded():
        raise UsageError(f"There is no embedded model {rest!r}. {did_you_mean(rest, embedded())}")
    if (kind, scheme) == ("input", "digits"):
        select(rest, count=EMBEDDED, what="digits (held-out images)")
    elif (kind, scheme) == ("model", "export"):
        existing_file(rest, kind="exported program", form="export:FILE.pt2")
    elif (kind, scheme) == ("model", "python") and place.endswith(".py"):
        existing_file(place, kind="Python file", form="python:FILE.py:factory")
    elif (kind, scheme) == ("model", "python") and Path(f"{place}.py").is_file():
        factory = rest[len(place) + 1 :] or "build"
        raise UsageError(f"python:{rest} is a module's; did you mean the file, python:{place}.py:{factory}?")


def meant(kind: str, ref: str, /) -> str:
    """ "Did you mean python:net.py:build?" for a reference whose scheme is missing or unknown, or empty."""
    file = re.match(r"(.+?\.(?:py|pt2|npz|npy))(:.*)?$", ref)
    found = ""
    if file is not None:
        scheme = {"py": "python", "pt2": "export"}.get(file[1].rpartition(".")[2], "npz")
        more = f":{file[2].lstrip(':')}" if file[2] else ""
        found = f"{scheme}:{file[1]}{more or ':build' * (scheme == 'python')}"
    elif kind == "model" and ref.lower() in embedded():
        found = f"digits:{ref.lower()}"
    elif kind == "model" and ref.lower().startswith("digits"):
        found = "digits:mlp"
    elif kind == "input" and (PART.match(ref) or ref.lower().startswith("digit")):
        found = f"digits:{ref}" if PART.match(ref) else "digits:0-9"
    elif kind == "input" and ref.split(":")[0].lower() in ("images", "folder"):
        found = "images:FOLDER:resize=256,crop=224"
    elif kind == "model":
        return (
            "A model of torchvision, timm or transformers is returned by a function of yours:"
            " python:FILE.py:build, see docs/your-model.md."
        )
    return f"Did you mean {found}?" if found else ""


PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
WEIGHTS = (".bin", ".ckpt", ".pt", ".pth", ".safetensors")
_FACTORY = "a Python file whose build() makes the model{0}, named as python:FILE.py:build"
_WEIGHTS = f"give {_FACTORY.format('')}:weights="


def kind_of_file(ref: str) -> str:
    """ "state.pt is weights (a state dictionary) …: give …" of the file or folder that a reference begins
    with or is; "" where there is none, or nothing is known of it."""
    for text in (ref, *(ref[:at] for at, char in enumerate(ref) if char == ":" and at > 1)):
        try:
            path = Path(text).expanduser()
            found = path.is_dir() or path.is_file()
        except (OSError, RuntimeError, ValueError):
            continue
        if text and found:
            said = _folder(path) if path.is_dir() else _file(path)
            return f"{text} is {said}." if said else ""
        if path.suffix.lower() in WEIGHTS and ":" not in text:
            return f"There is no file {text}. If it is to hold weights: {_WEIGHTS}{path}."
    return ""


def _folder(path: Path) -> str:
    if (path / "config.json").is_file():
        return f"a Hugging Face checkpoint: as a model, hf:{path}"
    if any(each.suffix.lower() in PICTURES for each in [*path.glob("*"), *path.glob("*/*")][:1000]):
        return f"a folder of pictures: as inputs, --inputs images:{path}"
    return ""


def _file(path: Path) -> str:
    with path.open("rb") as stream:
        first = stream.read(8)
    suffix = path.suffix.lower()
    if first[:4] == b"PK\x03\x04":
        return _archive(path)
    if first[:6] == b"\x93NUMPY":
        return f"one NumPy array: as inputs, --inputs npz:{path}, with labels beside npz:{path},LABELS.npy"
    if suffix == ".py":
        return f"Python code: as a model, python:{path}:build"
    if suffix == ".safetensors":
        return f"weights without a model: {_WEIGHTS}{path}"
    if suffix == ".onnx":
        return f"an ONNX model: as a model, onnx:{path}"
    if suffix in (".h5", ".hdf5", ".keras", ".pb", ".tflite"):
        return "a TensorFlow or Keras model: build the same layers in torch and load its weights into them"
    if suffix in PICTURES:
        return f"a picture: put it into a folder, --inputs images:{path.parent}"
    if suffix in (".csv", ".tsv", ".parquet"):
        scheme = "parquet" if suffix == ".parquet" else "csv"
        return f"a table: as inputs, --inputs {scheme}:{path}:label=COLUMN"
    if suffix == ".toml":
        return f"a study file: falsefloor run {path}"
    if first[:1] == b"\x80":
        return f"a pickle, which is never read: give {_FACTORY.format('')}"
    return ""


def _archive(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return "a truncated archive: write or copy it again"
    inner = {name.partition("/")[2] for name in names}
    if any(name.endswith(".npy") for name in names):
        return f"an archive of NumPy arrays: as inputs, --inputs npz:{path}"
    if "constants.pkl" in inner:
        how = _FACTORY.format(f" by torch.jit.load({str(path)!r})")
        return (
            f"TorchScript, which is code: export the model by torch.export, or, if you trust it, give {how}"
        )
    if any(name.startswith("models/") and name.endswith(".json") for name in inner):
        return f"an exported program: as a model, export:{path}"
    if "data.pkl" in inner:
        return f"what torch.save wrote, weights without a model: {_WEIGHTS}{path}"
    return ""


def needs(scheme: str, package: str, extra: str, more: str = "") -> UsageError:
    """The error where a scheme's package is missing; ``more``: another way than to install it."""
    return UsageError(
        f"{scheme}: needs the package {package!r}, which is not installed here. Install"
        f" falsefloor[{extra}]{more}."
    )


def refusal(message: str, ref: str) -> UsageError:
    """The error with what the file is, where that is known."""
    said = kind_of_file(ref)
    return UsageError(f"{message} {said}" if said else message)
