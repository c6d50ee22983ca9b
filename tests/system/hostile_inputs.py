"""Files as nobody honest sends them, for every reader of models and inputs, by a seed.

`made(folder, seed, mark=…)` writes one and returns how it is referred to: whether it is a model, its
reference, and what is wrong with it. ``mark``: a file that whatever is executed would write.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Made = tuple[bool, str, str]


class Bomb:
    """A pickle that writes a file when it is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, (f"open({str(self.mark)!r}, 'a').write('pickle ')",))


def npy(array: Any = None, *, header: str | None = None, body: bytes = b"") -> bytes:
    """A NumPy file; with a ``header`` of one's own whatever it says."""
    if header is None:
        file = io.BytesIO()
        np.save(file, array, allow_pickle=True)
        return file.getvalue()
    text = header.encode("latin1") + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) & 0xFFFF) + text + body


HEADERS = (
    "{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 64)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (-4, 64)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551616,)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 64.5)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 64)",
    "{'descr': '|O', 'fortran_order': False, 'shape': (4,)}",
    "{'descr': '<f9', 'fortran_order': False, 'shape': (4, 64)}",
    "{'descr': '<f4', 'fortran_order': 7, 'shape': (4, 64)}",
    "__import__('os').abort()",
    "{'descr': [('a', '<f4'), ('a', '<f4')], 'fortran_order': False, 'shape': (4,)}",
    "{'descr': '<V1099511627776', 'fortran_order': False, 'shape': (4,)}",
    "[" * 3000,
    "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1," * 70 + ")}",
)
DTYPES = (
    ">f4", ">f8", ">i2", "<f2", "g", ">g", "c8", "G", "?", "u1", "u8", "i8", "S3", "U3", "M8[s]", "m8[D]",
    "V4", "f4,f4", "O",
)  # fmt: skip
SHAPES = (
    (),
    (0,),
    (0, 64),
    (1, 0),
    (64,),
    (4,),
    (4, 64),
    (2, 8, 8),
    (2, 1, 8, 8),
    (1,) * 32,
    (3, 63),
    (2, 64, 1),
)
LABELS = (
    [0, 1, 2, 3], [0.5, 1, 2, 3], [np.nan] * 4, [-1, 0, 1, 2], [99, 1, 2, 3], [2**62] * 4, [True] * 4,
    ["a"] * 4, [0, 1, 2], [[0, 1]] * 4, np.eye(10)[:4], np.ones((4, 10)),
    np.zeros((4, 0)), 3, [1j] * 4, [None] * 4,
)  # fmt: skip


def _array(chance: random.Random, mark: Path) -> bytes:
    how = chance.random()
    if how < 0.3:
        return npy(header=chance.choice(HEADERS), body=os.urandom(chance.choice((0, 16, 1024))))
    if how < 0.4:
        return npy(np.array([Bomb(mark)], dtype=object))
    shape, kind = chance.choice(SHAPES), np.dtype(chance.choice(DTYPES))
    values = np.zeros(shape, kind)
    if kind.kind == "f" and values.size:
        values = values + np.array(chance.choice([0.5, np.nan, np.inf, -np.inf, 1e38, 300.0]), kind)
    return npy(values.astype(kind))


def _archive(path: Path, members: list[tuple[str, bytes]], chance: random.Random) -> None:
    with zipfile.ZipFile(path, "w", chance.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as file:
        for name, data in members:
            file.writestr(name, data)


def npz(folder: Path, chance: random.Random, mark: Path) -> Made:
    path = folder / "batch.npz"
    members = [
        (
            chance.choice(["inputs.npy", "x.npy", "INPUTS.npy", "inputs", "../inputs.npy"]),
            _array(chance, mark),
        )
    ]
    if chance.random() < 0.4:
        members = [("inputs.npy", npy(np.full((4, 64), 0.5, np.float32)))]
        members += [("labels.npy", npy(np.array(chance.choice(LABELS), dtype=chance.choice([None, object]))))]
    if chance.random() < 0.2:
        members += [("more.npy", _array(chance, mark)), ("inputs.npy", _array(chance, mark))]
    _archive(path, members, chance)
    return (
        False,
        f"npz:{path}{chance.choice(['', '', ':0-9', ':0', ':-1', ':9-0', ':a', ':0-99999999999999999999'])}",
        "npz",
    )


def bomb(folder: Path, chance: random.Random, _mark: Path) -> Made:
    """A thousand times its size and more when it is unpacked: 4 GB of zeros in 4 MB."""
    path, size = folder / "bomb.npz", 2**32
    rows = size // 4 // 64
    head = npy(header=f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, 64)}}")
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    packed += block * (size // 2**20) + packer.flush()
    crc = 0  # nobody gets so far as to check it
    name, total = b"inputs.npy", len(head) + size
    extra = struct.pack("<HHQQ", 1, 16, total, len(packed))
    local = struct.pack(
        "<IHHHHHIIIHH", 0x04034B50, 45, 0, 8, 0, 33, crc, 2**32 - 1, 2**32 - 1, len(name), len(extra)
    )
    sizes = crc, 2**32 - 1, 2**32 - 1, len(name), len(extra)
    central = struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 45, 45, 0, 8, 0, 33, *sizes, 0, 0, 0, 0, 0)
    start = len(local) + len(name) + len(extra) + len(packed)
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 1, 1, len(central) + len(name) + len(extra), start, 0)
    path.write_bytes(local + name + extra + packed + central + name + extra + end)
    return False, f"npz:{path}", "a bomb"


def lone(folder: Path, chance: random.Random, mark: Path) -> Made:
    path = folder / chance.choice(["x.npy", "inputs.npy", "x_test.npy"])
    path.write_bytes(_array(chance, mark))
    if chance.random() < 0.5:
        (folder / "y.npy").write_bytes(npy(np.array(chance.choice(LABELS), dtype=object)))
    return False, f"npz:{path}{chance.choice(['', ',' + str(folder / 'y.npy'), ':0-3'])}", "npy"


def damaged(folder: Path, chance: random.Random, mark: Path) -> Made:
    """Bytes of an honest file, changed or missing."""
    path = folder / "damaged.npz"
    np.savez_compressed(path, inputs=np.full((4, 64), 0.5, np.float32), labels=np.arange(4))
    data = bytearray(path.read_bytes())
    for _ in range(chance.choice((1, 4, 40))):
        data[chance.randrange(len(data))] = chance.randrange(256)
    if chance.random() < 0.3:
        del data[chance.randrange(len(data)) :]
    path.write_bytes(data)
    return False, f"npz:{path}", "damaged npz"


def odd_place(folder: Path, chance: random.Random, _mark: Path) -> Made:
    """Something that is no file."""
    name = folder / chance.choice(["odd.npz", "odd.npy", "odd.png", "odd.pt2", "odd.safetensors"])
    how = chance.choice(["folder", "loop", "dangling", "empty", "binary", "nameless"])
    if how == "folder":
        name.mkdir()
    elif how == "loop":
        name.symlink_to(name)
    elif how == "dangling":
        name.symlink_to(folder / "nowhere")
    elif how == "empty":
        name.write_bytes(b"")
    elif how == "binary":
        name.write_bytes(os.urandom(4096))
    else:
        name = folder / ("\x1b[2J" + "x" * 300)
    scheme = chance.choice(["npz", "images", "export", "python"])
    return scheme in ("export", "python"), f"{scheme}:{name}", f"{how} as {scheme}"


MODES = ("1", "L", "P", "LA", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "F", "I;16")


def images(folder: Path, chance: random.Random, _mark: Path) -> Made:
    from PIL import Image

    place = folder / "images"
    place.mkdir()
    for number in range(3):
        mode = chance.choice(MODES)
        kind = chance.choice(["png", "jpg", "gif", "bmp", "tif", "webp"])
        size = chance.choice([(8, 8), (1, 1), (8, 8), (64, 1), (300, 200)])
        file = place / f"{number}.{kind}"
        try:
            Image.new(mode, size, 1).save(file)
        except (OSError, ValueError, KeyError):
            file.write_bytes(os.urandom(64))
        if chance.random() < 0.3 and file.stat().st_size > 8:
            data = bytearray(file.read_bytes())
            data[chance.randrange(len(data))] ^= 0xFF
            file.write_bytes(data[: chance.randrange(1, len(data))])
    how = chance.random()
    if how < 0.2:
        (place / "huge.png").write_bytes(_huge_png())
    elif how < 0.3:
        (place / "folder.png").mkdir()
    elif how < 0.4:
        (place / "zero.png").symlink_to("/dev/zero")
    elif how < 0.5:
        os.mkfifo(place / "pipe.png")
    for name in ("labels.csv", "labels.txt", "labels.json"):
        if chance.random() < 0.3:
            (place / name).write_bytes(chance.choice([
                b"", b"\xff\xfe\x00", b"0.png,1\n", b"file,label\n0.png,x\n", b"0.png,99999999999999999999\n",
                b"0.png,nan\n1.png,-1\n", b"\n" * 1000, b'"' * 2000, json.dumps({"0.png": [1]}).encode(),
                b"[" * 5000, b"../../etc/passwd,0\n", b"0.png\x00,1\n", b"0.png,1" * 20_000,
            ]))  # fmt: skip
    return False, f"images:{place}{chance.choice(['', '', ':0-9', ':9', ':x'])}", "images"


def _huge_png() -> bytes:
    """A header that says 2,000,000,000 pixels, and none of them."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 40_000, 8, 6, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def exported(folder: Path, chance: random.Random, mark: Path) -> Made:
    path = folder / chance.choice(["net.pt2", "net.pt", "net.pth", "net.safetensors", "net.onnx", "net.bin"])
    how = chance.choice(["pickle", "zip", "zip of pickle", "header", "text"])
    if how == "pickle":
        path.write_bytes(pickle.dumps(Bomb(mark)))
    elif how == "zip":
        _archive(path, [("net/data.pkl", os.urandom(64)), ("net/version", b"x")], chance)
    elif how == "zip of pickle":
        names = (
            "archive_format",
            "byteorder",
            "models/model.json",
            "data/weights/model.pt",
            "data.pkl",
            "version",
        )
        _archive(path, [(f"net/{name}", pickle.dumps(Bomb(mark))) for name in names], chance)
    elif how == "header":
        path.write_bytes(
            struct.pack("<Q", chance.choice((2**63, 100, 0))) + b'{"a": {"dtype": "F32", "shape": [-1]}}'
        )
    else:
        path.write_text("{" * 3000)
    return True, f"{chance.choice(['export', 'export', 'python'])}:{path}", f"{how} as {path.suffix}"


KINDS: tuple[Callable[[Path, random.Random, Path], Made], ...] = (
    npz, npz, npz, lone, lone, damaged, odd_place, images, images, exported,
)  # fmt: skip


def made(folder: Path, seed: int, *, mark: Path) -> Made:
    chance = random.Random(seed)
    folder.mkdir()
    if seed % 100 == 7:
        return bomb(folder, chance, mark)
    return KINDS[seed % len(KINDS)](folder, chance, mark)
