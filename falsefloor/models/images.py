"""Inputs from a folder of pictures (`images:FOLDER`); needs the `images` extra (pillow)."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from falsefloor.api import LabelledInputs, LoadedModel
from falsefloor.errors import DomainError, UsageError
from falsefloor.models.refs import existing_file, needs, select, split_options

if TYPE_CHECKING:
    from PIL.Image import Image

FORM = "images:FOLDER, images:FOLDER:resize=256,crop=224 or images:FOLDER:0-9"
SUFFIXES = frozenset((".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"))
KEYS = ("crop", "labels", "resize")
LABEL_FILE = "labels.csv"
LARGEST_SIDE = 8192
LONGEST_LABEL = 10
"""Digits of a class number, and one more."""
MODES = {1: "L", 3: "RGB"}


@dataclass(frozen=True)
class Declared:
    """What a reference says: the folder, how pictures are fitted, where labels stand, which pictures."""

    folder: Path
    resize: int | None = None
    crop: int | None = None
    labels: str | None = None
    rows: str = ""


@dataclass(frozen=True)
class ImagesInputs:
    """Pictures of a folder, by name: `images:FOLDER[:resize=S,crop=S,labels=FILE][:0-9]`.

    resize: the shorter side, with antialiasing. crop: a centred square. Nothing is resized unless declared.
    Labels: a CSV file in the folder (labels.csv, or another), rows "path,number"; else class folders, whose
    names are numbers or stand, sorted, for all of the model's classes; else the model's own answers.
    Pixels are 0 to 1, or 0 to 255 where the model's bounds are that. Raises UsageError and DomainError.
    """

    api_version: ClassVar[int] = 1

    def __call__(self, ref: str, model: LoadedModel, /) -> LabelledInputs:
        declared = _parse(ref)
        files = _pictures(declared.folder)
        labels = _labels(declared, files, classes=model.classes)
        rows = (
            select(declared.rows, count=len(files), what=str(declared.folder))
            if declared.rows
            else range(len(files))
        )
        pixels = [_fitted(declared.folder / files[row], declared, model) for row in rows]
        if len({each.shape for each in pixels}) > 1:
            raise DomainError(
                f"The pictures in {declared.folder} have different sizes; "
                "declare one, for example images:FOLDER:resize=256,crop=224."
            )
        return LabelledInputs(
            inputs=torch.stack(pixels) * _white(model),
            labels=None if labels is None else torch.tensor([labels[row] for row in rows]),
            names=[files[row] for row in rows],
        )


def _parse(ref: str) -> Declared:
    name, *rest = ref.split(":")
    try:
        folder = Path(name).expanduser() if name else Path()
        found = bool(name) and folder.is_dir()
    except (OSError, RuntimeError, ValueError):  # an unknown home, a name too long, a null byte
        found = False
    if not found:
        raise UsageError(f"There is no folder {name!r} (looked in {Path.cwd()}); write {FORM}.")
    options, rows = split_options(rest, KEYS, what="images", form=FORM)
    return Declared(
        folder=folder,
        resize=_side(options, "resize"),
        crop=_side(options, "crop"),
        labels=options.get("labels"),
        rows=rows,
    )


def _side(options: Mapping[str, str], key: str) -> int | None:
    value = options.get(key)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and 0 < int(value[:9]) <= LARGEST_SIDE):
        raise UsageError(f"images: {key}={value} is no number of pixels from 1 to {LARGEST_SIDE}.")
    return int(value)


def _pictures(folder: Path) -> list[str]:
    """Paths below the folder, one level deep at most, sorted."""
    here = [path for path in folder.iterdir() if path.is_file() and path.suffix.lower() in SUFFIXES]
    below = [path for path in folder.glob("*/*") if path.is_file() and path.suffix.lower() in SUFFIXES]
    if here and below:
        raise UsageError(f"{folder} holds pictures both in itself and in class folders; keep one of the two.")
    if not here and not below:
        raise UsageError(
            f"{folder} holds no pictures, nor do its folders. Suffixes: {', '.join(sorted(SUFFIXES))}."
        )
    return sorted(str(path.relative_to(folder)) for path in here or below)


def _labels(declared: Declared, files: Sequence[str], *, classes: int) -> list[int] | None:
    named = declared.labels or (LABEL_FILE if (declared.folder / LABEL_FILE).is_file() else None)
    if named is not None:
        labels = _from_file(existing_file(str(declared.folder / named), kind="label file", form=FORM), files)
    elif "/" in Path(files[0]).as_posix():
        labels = _from_folders(declared.folder, files, classes=classes)
    else:
        return None
    if classes and max(labels) >= classes:
        raise DomainError(
            f"{declared.folder}: labels reach {max(labels)}, but the model's classes are 0 to {classes - 1}."
        )
    return labels


def _from_file(path: Path, files: Sequence[str]) -> list[int]:
    known: dict[str, int] = {}
    try:
        rows = [*csv.reader(path.read_text(encoding="utf-8-sig").splitlines(keepends=True))]
    except (OSError, ValueError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read as rows of a path and a class number: {error}") from error
    for number, row in enumerate(rows, start=1):
        if not row or (number == 1 and len(row) == 2 and not row[1].strip().isdigit()):
            continue  # an empty line or the heading
        label = row[-1].strip()
        if len(row) != 2 or not (label.isascii() and label.isdigit() and len(label) < LONGEST_LABEL):
            raise UsageError(
                f"{path}, line {number}: expected a path and a class number, found {','.join(row)[:200]!r}."
            )
        known[str(Path(row[0].strip()))] = int(label)
    missing = [file for file in files if file not in known]
    if missing:
        raise UsageError(
            f"{path} has no label for {missing[0]} ({len(missing)} of {len(files)} pictures lack one)."
        )
    return [known[file] for file in files]


def _from_folders(folder: Path, files: Sequence[str], *, classes: int) -> list[int]:
    owners = [Path(file).parts[0] for file in files]
    names = sorted(set(owners))
    if all(name.isascii() and name.isdigit() for name in names):
        return [int(owner) for owner in owners]
    if classes and len(names) != classes:
        raise DomainError(
            f"{folder} has {len(names)} class folders, the model {classes} classes: their order does not say "
            f"which is which. Name the folders by class numbers, or write {LABEL_FILE} with rows path,number."
        )
    return [names.index(owner) for owner in owners]


def _white(model: LoadedModel) -> float:
    low, high = (0.0, 1.0) if model.at else model.bounds
    for white in (1.0, 255.0):
        if isinstance(low, float | int) and isinstance(high, float | int) and (low, high) == (0, white):
            return white
    raise DomainError(
        f"Pictures have pixels from 0 to 1 or 0 to 255, but the model's bounds are ({low}, {high}). "
        "Declare bounds 0,1 with the model's own mean and std, or use npz:FILE."
    )


def _fitted(path: Path, declared: Declared, model: LoadedModel) -> Tensor:
    """(C, H, W), or (H, W) for a model without channels, in [0, 1]."""
    shape = model.input_shape
    channels = shape[0] if len(shape) == 3 else (1 if len(shape) == 2 else 3)
    if channels not in MODES or len(shape) not in (0, 2, 3):
        raise DomainError(f"The model takes inputs of shape {shape}, which is no picture of 1 or 3 channels.")
    picture, white = _open(path, MODES[channels])
    if declared.resize is not None:
        scale = declared.resize / min(picture.size)
        size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
        picture = picture.resize(size, resample=2, reducing_gap=None)  # 2: bilinear
    if declared.crop is not None:
        if declared.crop > min(picture.size):
            raise DomainError(
                f"{path} is {picture.width}×{picture.height} after resizing, too small for "
                f"crop={declared.crop}."
            )
        left, top = (picture.width - declared.crop) // 2, (picture.height - declared.crop) // 2
        picture = picture.crop((left, top, left + declared.crop, top + declared.crop))
    if shape and (picture.height, picture.width) != tuple(shape[-2:]):
        raise DomainError(
            f"{path} is {picture.width}×{picture.height} pixels, the model takes {shape[-1]}×{shape[-2]}. "
            f"Declare how to fit it: images:FOLDER:resize={min(shape[-2:])},crop={min(shape[-2:])}."
        )
    pixels = torch.from_numpy(np.array(picture, dtype=np.float32) / white)
    if pixels.ndim == 2 and channels == 3:
        pixels = pixels[..., None].expand(-1, -1, 3)
    if len(shape) == 2:
        return pixels
    return pixels.permute(2, 0, 1).contiguous() if channels == 3 else pixels[None]


def _open(path: Path, mode: str) -> tuple[Image, float]:
    """The picture and the value of white in it; one of more than 8 bits is grey and keeps its values."""
    try:
        from PIL import Image, ImageOps
    except ModuleNotFoundError as error:
        raise needs("images", "pillow", "images") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                upright = ImageOps.exif_transpose(picture)
                if upright.mode.startswith(("I", "F")):
                    return _deep(upright, path)
                return upright.convert(mode), 255.0
    except DomainError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise UsageError(f"{path} is too large to be opened safely: {error}") from error
    except Exception as error:  # pillow raises whatever its readers happen to raise
        raise UsageError(f"{path} cannot be read as a picture: {error}") from error


def _deep(picture: Image, path: Path) -> tuple[Image, float]:
    """One channel of more than 8 bits as it stands, by its range: conversion to 8 bits would clip it."""
    from PIL import Image

    values = np.asarray(picture, dtype=np.float32)
    low, high = float(values.min()), float(values.max())
    whole = picture.mode.startswith("I")
    white = 65535.0 if whole else 1.0
    if not (low >= 0 and high <= white):
        kind = "whole numbers" if whole else "fractions"
        raise DomainError(
            f"{path} holds {kind} from {low:g} to {high:g}; pictures of more than 8 bits are read as"
            f" 0 to {white:g}. Scale it, or give the array: --inputs npz:FILE.npz with"
            f" --bounds {low:g},{high:g}."
        )
    return Image.fromarray(values, mode="F"), white
