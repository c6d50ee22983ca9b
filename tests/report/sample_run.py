"""A run as a worker leaves it, written straight into the tables: what reports and commands are tried on."""

from __future__ import annotations

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from falsefloor.store.paths import RunDir, create_run
from falsefloor.store.schema import migrate
from falsefloor.study.file import study_from, write_study

STARTED = 1_790_000_000.0
CLAIMS = {"clever:radius=0.3": "lower_estimate", "clever": "lower_estimate", "attack": "upper_bound"}
STUDY = study_from(
    {
        "models": ["digits:mlp"],
        "inputs": "digits:0-4",
        "maskers": ["none", "staircase:c=255", "ramp:c=255,delta=0.2"],
        "estimators": list(CLAIMS),
        "tag": "sample",
    }
)
STACKS = {
    "none": [],
    "staircase:c=255": [{"use": "staircase", "at": "input", "params": {"c": 255.0}}],
    "ramp:c=255,delta=0.2": [{"use": "ramp", "at": "input", "params": {"c": 255.0, "delta": 0.2}}],
}
HELD = "21 checks, 48,213 queries"
OUTCOMES: dict[tuple[str, str], tuple[float, bool, str, str]] = {
    ("none", "clever:radius=0.3"): (0.0270, False, "held", HELD),
    ("none", "clever"): (0.0320, False, "held", HELD),
    ("none", "attack"): (0.0378, False, "held", HELD),
    ("staircase:c=255", "clever:radius=0.3"): (0.3, True, "refuted", "FF201 floor above ceiling"),
    ("staircase:c=255", "clever"): (1.0, True, "refuted", "FF201 floor above ceiling"),
    ("staircase:c=255", "attack"): (0.0379, False, "held", HELD),
    ("ramp:c=255,delta=0.2", "clever:radius=0.3"): (0.0118, False, "suspect", "FF102 scales disagree"),
    ("ramp:c=255,delta=0.2", "clever"): (0.0148, False, "suspect", "FF102 scales disagree"),
    ("ramp:c=255,delta=0.2", "attack"): (0.0379, False, "held", HELD),
}


class SampleRun:
    """A run under ``root``; tables are open for more until `close`."""

    def __init__(self, root: Path, *, inputs: int = 5, status: str = "done") -> None:
        self.dir: RunDir = create_run(root)
        self.dir.study.write_text(write_study(STUDY), encoding="utf-8")
        self.dir.log.write_text("started\n", encoding="utf-8")
        self.db = sqlite3.connect(self.dir.db)
        migrate(self.db)
        self.meta(
            id=self.dir.id,
            status=status,
            created=STARTED,
            started=STARTED,
            seed=0,
            device="cpu",
            versions={"falsefloor": "0.1.0", "torch": "2.13.0", "python": "3.11.2"},
            study=STUDY.to_json(),
            tag="sample",
        )
        if status == "done":
            self.meta(ended=STARTED + 72)
        facts = {"count": inputs, "classes": 10, "units": "pixel, 0 to 1"}
        self.insert("model", name="digits:mlp", spec="{}", facts=facts, fingerprint={"weights": "ab12"})
        self.series: dict[tuple[str, str], int] = {}
        for masker, stack in STACKS.items():
            self._observe(masker, inputs)
            for label in CLAIMS:
                self._cell(masker, label, stack, inputs)
        self.db.commit()

    def insert(self, table: str, **values: Any) -> int:
        plain = [json.dumps(v) if isinstance(v, dict | list) else v for v in values.values()]
        marks = ", ".join("?" * len(values))
        cursor = self.db.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", plain)
        return int(cursor.lastrowid or 0)

    def meta(self, **values: Any) -> None:
        for key, value in values.items():
            self.db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, json.dumps(value)))
        self.db.commit()

    def close(self) -> RunDir:
        self.db.commit()
        self.db.close()
        return self.dir

    def _observe(self, masker: str, inputs: int) -> None:
        unit = self._unit("observe", masker, None, inputs)
        for number in range(inputs):
            self.insert(
                "observation",
                unit=unit,
                model="digits:mlp",
                masker=masker,
                norm="linf",
                input=number,
                agreement=None if masker == "none" else int(number != 4 or masker != "staircase:c=255"),
                facts={"predicted": 3, "margin": 4.25},
            )

    def _unit(self, kind: str, masker: str, series: int | None, inputs: int, status: str = "done") -> int:
        return self.insert(
            "unit",
            key=f"{kind}-{masker}-{series}",
            kind=kind,
            spec="{}",
            model="digits:mlp",
            masker=masker,
            norm="linf",
            series=series,
            first=0,
            stop=inputs,
            status=status,
            seconds=0.5,
            forward=100,
            backward=10,
            finished=STARTED + 60,
        )

    def _cell(self, masker: str, label: str, stack: list[dict[str, Any]], inputs: int) -> None:
        radius, capped, verdict, reason = OUTCOMES[masker, label]
        series = self.insert(
            "series",
            model="digits:mlp",
            masker=masker,
            stack=stack,
            norm="linf",
            estimator=label.split(":")[0],
            label=label,
            params={"radius": 0.3} if "=" in label else {},
            gradient="autograd",
            claim=CLAIMS[label],
            plugin={"dist": "falsefloor", "version": "0.1.0"},
        )
        self.series[masker, label] = series
        unit = self._unit("estimate", masker, series, inputs)
        for number in range(inputs):
            scale = 1.0 if capped else 1.0 + number / 10
            estimate = self.insert(
                "estimate",
                unit=unit,
                series=series,
                input=number,
                label=3,
                predicted=3,
                radius=radius * scale,
                capped=int(capped),
                low=radius * 0.9,
                high=radius * 1.1,
                verdict=verdict,
                reason=reason,
                evidence={"lipschitz": 131.5},
                forward=5000,
                backward=50000,
                seconds=0.08,
                status="ok",
            )
            if verdict != "held":
                self._finding(estimate, unit, number, reason.split(" ")[0], verdict, radius)
        self.count(series, Counter({verdict: inputs}))

    def _finding(self, estimate: int, unit: int, number: int, code: str, verdict: str, radius: float) -> None:
        witness = None
        if verdict == "refuted":
            witness = f"u{unit}/{number}/witness"
            distance = 0.0379 + number / 1000
            self.insert(
                "array",
                name=witness,
                unit=unit,
                dtype="float32",
                shape=[1, 8, 8],
                facts={"distance": distance, "predicted": 8},
                data=b"\0" * 256,
            )
        self.insert(
            "finding",
            id=f"f{estimate}-{code}",
            estimate=estimate,
            code=code,
            severity=verdict,
            message=f"the claimed radius {radius:g} contradicts what was found",
            evidence={"ratio": 1.5},
            witness=witness,
        )

    def count(self, series: int, verdicts: Counter[str] | dict[str, int]) -> None:
        for verdict, count in verdicts.items():
            self.insert("tally", series=series, verdict=verdict, count=count)


def sample(root: Path, **settings: Any) -> RunDir:
    return SampleRun(root, **settings).close()


def now() -> float:
    return time.time()


__all__: Sequence[str] = ["CLAIMS", "STUDY", "SampleRun", "sample"]
