"""FF601 to FF603, FF701 and FF901: questions that were not sensible, useless answers, and a broken check."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from draw import BLUE, GREY, RED, ZERO, figure, line, terminal
from torch import nn

from cases.case import ATTACK, Case, digit, margin, network, raised, record_of, study

ROOT = Path(__file__).parents[3]


def misclassified() -> Case:
    number = 39
    x, y = digit(number)
    record = record_of(study(network(), x, y, estimators=["clever:radius=0.1"]), "clever")
    raised("FF601", record)
    with torch.no_grad():
        logits = network()(x)[0]
    label, answer = int(y), int(logits.argmax())

    def draw(figure: Any) -> None:
        left, right = figure.subplots(1, 2, width_ratios=[1, 2])
        left.imshow(x[0, 0].numpy(), cmap="gray_r", vmin=0.0, vmax=1.0)
        left.set_axis_off()
        left.set_title(f"digits:{number}, label {label}")
        colours = {label: BLUE, answer: RED}
        shown = right.bar(
            range(10), logits.tolist(), color=[colours.get(k, GREY) for k in range(10)], width=0.7
        )
        shown[answer].set_hatch("///")
        for k, word in ((label, "label"), (answer, "answer")):
            right.annotate(
                word,
                (k, max(0.0, float(logits[k]))),
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
                color=colours[k],
            )
        right.set_ylim(top=1.6 * float(logits.max()))
        right.set_xticks(range(10))
        right.set_xlabel("class")
        right.set_ylabel("logit")

    return Case(
        alt="A handwritten digit beside its ten logits; another class than its label has the largest",
        caption=(
            f"digits:mlp, unmasked, input digits:{number}. Class {answer} has a logit of"
            f" {float(logits[answer]):.2f}, the label {label} one of {float(logits[label]):.2f}: the distance"
            f" is {record['radius']:.3g} and nothing is estimated."
        ),
        shown=draw,
    )


def outside() -> Case:
    x, y = digit(0)
    grey = 16.0 * x
    record = record_of(study(network(), grey, y, estimators=["clever:radius=0.1"]), "clever")
    if not str(record["error"]).startswith("FF602"):  # such an input has no estimate that could be judged
        raise LookupError(f"FF602 is not raised: {record['error']}")
    pixels = grey.flatten()
    beyond = float((pixels > 1.0).double().mean())

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        axes.axvspan(0.0, 1.0, facecolor="#d9ead3", label="the bounds: 0 to 1")
        axes.hist(
            pixels.tolist(),
            bins=[k - 0.5 for k in range(18)],
            color=RED,
            alpha=0.7,
            rwidth=0.7,
            label="the input's pixels",
        )
        axes.set_xlabel("value of a coordinate")
        axes.set_ylabel("coordinates of 64")
        axes.legend(loc="upper center")

    return Case(
        alt="Pixel values from 0 to 16 against bounds from 0 to 1",
        caption=(
            "digits:mlp with bounds from 0 to 1, input digits:0 with its pixels left on their original scale"
            f" from 0 to 16. {beyond:.0%} of the 64 coordinates lie outside, the largest at"
            f" {float(pixels.max()):.0f}."
        ),
        shown=draw,
    )


def training() -> Case:
    x, y = digit(0)
    body = copy.deepcopy(network())
    model = nn.Sequential(*list(body)[:-1], nn.Dropout(0.5), list(body)[-1]).train()
    raised("FF603", record_of(study(model, x, y, estimators=["clever:radius=0.1"]), "clever"))
    torch.manual_seed(0)
    active = torch.cat([margin(model, x, y) for _ in range(10)])
    fixed = torch.cat([margin(model.eval(), x, y) for _ in range(10)])

    calls = range(1, 11)
    shown = figure(
        "call, always with the same input",
        "margin",
        line("in training mode, as it came", calls, active, "red", "cross", joined=False),
        line("after eval(), what is judged", calls, fixed, "blue", "circle"),
        ZERO,
    )

    return Case(
        alt="Ten calls: in training mode ten margins, in evaluation mode one",
        caption=(
            "digits:mlp with a dropout of one half before its last layer, handed over in training mode, input"
            f" digits:0, torch seed 0. In training mode ten calls give margins from {float(active.min()):.2f}"
            f" to {float(active.max()):.2f}, in evaluation mode {float(fixed[0]):.2f} each time."
        ),
        shown=shown,
    )


def vacuous() -> Case:
    numbers = list(range(6))
    images, labels = (torch.cat(part) for part in zip(*map(digit, numbers), strict=True))
    score, masker = "clever:radius=0.3,samples=4", "ramp:delta=0.001"
    results = study(network(), images, labels, maskers=[masker], estimators=[score, ATTACK])
    floors, ceilings, useless = [], [], []
    for n in numbers:
        record = record_of(results, "clever", number=n)
        useless.append(float(raised("FF701", record)["evidence"]["ratio"]))
        floors.append(float(record["radius"]))
        ceilings.append(float(record_of(results, "attack", number=n)["radius"]))

    shown = figure(
        "input digits:n",
        "distance (linf)",
        line("attack's ceiling", numbers, ceilings, "green", "square", joined=False),
        line("CLEVER's floor", numbers, floors, "blue", "circle", joined=False),
        log="y",
    )

    return Case(
        alt="On a logarithmic axis the floors of six inputs lie far below their ceilings",
        caption=(
            f"digits:mlp behind {masker}, seed 0, {score}. The ceilings are {min(useless):.0f} to"
            f" {max(useless):.0f} times the floors; more than 5 times is called vacuous."
        ),
        shown=shown,
    )


BROKEN = """
from falsefloor.api import CodeInfo

class Curvature:
    api_version = 1
    codes = {"BENT": CodeInfo("bent", "suspect", "The function is curved.", "None.", "Nobody")}

    def __call__(self, facts, /):
        raise KeyError("curvature")

check = Curvature()
"""


def check_failed() -> Case:
    asked = ["run", "--model", "digits:linear", "--inputs", "digits:0", "--no-ceiling"]
    asked += ["--estimator", "clever:radius=0.1"]
    with tempfile.TemporaryDirectory() as temporary:
        site = Path(temporary) / "site"
        about = site / "broken_check-1.0.dist-info"
        about.mkdir(parents=True)
        (site / "broken_check.py").write_text(BROKEN, encoding="utf-8")
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-check\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text("[falsefloor.checks]\ncurvature = broken_check:check\n")
        paths = os.pathsep.join([str(site), str(ROOT), os.environ.get("PYTHONPATH", "")])
        home = {"PYTHONPATH": paths, "COLUMNS": "80", "NO_COLOR": "1", "PYTHONUTF8": "1"}
        home |= {name: f"{temporary}/{name}" for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME")}
        command = [sys.executable, "-m", "falsefloor", "--store", f"{temporary}/store"]

        def said(*words: str) -> str:
            done = subprocess.run(
                [*command, *words], env=os.environ | home, capture_output=True, text=True, check=True
            )
            return done.stdout

        table = [line.rstrip() for line in said(*asked).splitlines()]
        record = json.loads(said("show", "last", "--json"))["estimates"][0]
    message = raised("FF901", record)["message"]
    # the paragraph before names a run by a number drawn at random, and its time
    start = 1 + table.index("")
    end = next(n for n, line in enumerate(table) if line.startswith("next:"))
    lines = ["$ falsefloor " + " ".join(asked[:5]) + " \\", "    " + " ".join(asked[5:]), ""]
    lines += table[start:end]

    return Case(
        alt="A table of falsefloor whose only row is unchecked, because FF901 check failed",
        caption=(
            "digits:linear, unmasked, input digits:0, seed 0, with a check installed that raises on purpose."
            f" The warning says `{message}`, and the verdict is {record['verdict']}, not held."
        ),
        shown=lambda figure: terminal(figure, lines),
    )


CASES: Mapping[str, Callable[[], Case]] = {
    "FF601": misclassified,
    "FF602": outside,
    "FF603": training,
    "FF701": vacuous,
    "FF901": check_failed,
}
