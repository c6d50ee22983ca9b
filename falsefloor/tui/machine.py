"""The accelerator beside which a run computes, for the line above: its name, how busy and how full it is.

Asked of the driver, by `nvidia-ml-py` where it is installed (the extra `gpu`) and by `nvidia-smi` elsewhere:
loading torch to ask would cost seconds and a context on the device.
"""

from __future__ import annotations

import subprocess
from contextlib import suppress

ASK = "--query-gpu=name,utilization.gpu,memory.used,memory.total"
WAIT = 3.0
"""Seconds that the driver may take to answer."""


def busy(device: str) -> str:
    """Of a run's device, such as cuda:1: "cuda:1 H100 97 % 12/80 GB"; empty where nothing tells."""
    kind, _, number = device.partition(":")
    if kind != "cuda" or not (number or "0").isdigit():
        return ""
    found = _library(int(number or 0)) or _command(int(number or 0))
    if found is None:
        return ""
    name, used, full, of = found
    short = name.replace("NVIDIA ", "").replace("GeForce ", "").partition(" ")[0].partition("-")[0]
    return f"{device} {short} {used:.0f} % {full / 1e9:.0f}/{of / 1e9:.0f} GB"


Told = tuple[str, float, float, float]
"""Name, percent of its time at work, bytes taken, bytes there."""


def _library(number: int) -> Told | None:
    try:
        import pynvml  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        return None
    with suppress(pynvml.NVMLError):
        pynvml.nvmlInit()
        card = pynvml.nvmlDeviceGetHandleByIndex(number)
        memory = pynvml.nvmlDeviceGetMemoryInfo(card)
        name = pynvml.nvmlDeviceGetName(card)
        work = pynvml.nvmlDeviceGetUtilizationRates(card).gpu
        return str(name), float(work), float(memory.used), float(memory.total)
    return None


def _command(number: int) -> Told | None:
    words = ["nvidia-smi", f"--id={number}", ASK, "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=WAIT, check=True)
        name, work, used, total = (part.strip() for part in done.stdout.strip().split("\n")[0].split(","))
        return name, float(work), float(used) * 2**20, float(total) * 2**20
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
