"""What a file is that was given where another was expected, and how it is used: for the end of an error.

Told from its first bytes and its table of contents; nothing in it is read, run or unpickled.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from falsefloor.errors import UsageError

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


def refusal(message: str, ref: str) -> UsageError:
    """The error with what the file is, where that is known."""
    said = kind_of_file(ref)
    return UsageError(f"{message} {said}" if said else message)
