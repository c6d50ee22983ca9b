"""Does every false floor get a verdict below `held`, and does every sound estimate keep it?

Runs studies over masked and unmasked models into a store (what is there is not computed again), labels every
lower estimate by points that were verified (detection_truth.py), judges all of it with the checks of this
version and prints: recall on over-claims and on useless under-claims, false alarms on unmasked models, the
share of each check, the same for two published sets of rules (detection_rules.py), and what the checks cost
(detection_costs.py). Families whose name is marked `frozen` had no part in the choice of any threshold.

    python benchmarks/detection.py --quick                     # about 300 estimates
    python benchmarks/detection.py --store DIR --write         # hours; interrupt it and go on any time
    python benchmarks/detection.py --store DIR --table-only    # of what is there
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from detection_costs import costs
from detection_met import report
from detection_rules import autoattack, indicators
from detection_studies import CLEAN, FAMILIES, NORMS, Family, computed, finished, study_of
from detection_truth import Row, rows_of
from machine import quantile
from pages import arguments, ratio, show
from pages import table as markdown
from torch import tensor

from falsefloor.engine.session import Session
from falsefloor.plugins.judging import RunJudge
from falsefloor.store.reader import RunReader
from falsefloor.store.run_dir import RunDir
from falsefloor.store.writer import RunWriter

QUICK = (
    Family(CLEAN, {"digits:mlp": "mlp"}),
    Family("staircase", {"digits:mlp": "mlp"}, ("staircase:c=255",)),
    Family("ramp", {"digits:mlp": "mlp"}, ("ramp:c=64,delta=0.01",)),
    Family("sigmoid", {"digits:mlp": "mlp"}, ("sigmoid:gain=1,at=logits",)),
    Family("casts", {"digits:mlp": "mlp"}, ("dtype:to=uint8",)),
    Family("shattered", {"mlp_shattered_dct": "mlp"}, frozen=True),
    Family("vanishing", {"mlp_vanishing_purified": "mlp"}, frozen=True),
    Family("misdirected", {"mlp_misdirected_tilted": "mlp"}, frozen=True),
    Family("ill-conditioned", {"mlp_ill_conditioned_wavy": "mlp"}, frozen=True),
    Family("defences", {"mlp_defences_rotated": "mlp", "mlp_defences_winners": "mlp"}, frozen=True),
    Family("soft steps", {"mlp_soft_steps_few": "mlp"}, frozen=True),
    Family("half-spaces", {"mlp_half_spaces_at_50": "mlp", "mlp_half_spaces_at_70": "mlp"}, frozen=True),
    Family("sparse", {"mlp_sparse_slabs": "mlp"}, frozen=True),
    Family("no answer", {"mlp_no_answer_slabs": "mlp", "mlp_no_answer_half": "mlp"}, frozen=True),
    Family("batch of one", {"mlp_batch_of_one_half": "mlp"}, frozen=True),
    Family("backdoor", {"mlp_backdoor_low": "mlp"}, frozen=True),
)
INPUTS = {"quick": "digits:0-3", "full": "digits:0-19"}
Flags = dict[tuple[str, str, str], dict[str, list[str]]]
"""Subject to the names of each peer's flags."""


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--quick", action="store_true", help="about 300 estimates, six minutes on one core")
    parser.add_argument("--store", type=Path, help="where the runs are kept; a temporary one with --quick")
    parser.add_argument("--norms", default=",".join(NORMS), help="of the full benchmark")
    parser.add_argument("--table-only", action="store_true", help="compute nothing that is not there")
    parser.add_argument("--json", type=Path, help="every row, for other evaluations")
    given = parser.parse_args()
    if given.store is None and not given.quick:
        parser.error("the full benchmark takes hours: say where it is kept, --store DIR")
    with tempfile.TemporaryDirectory() as temporary:
        root = given.store or Path(temporary)
        families = QUICK if given.quick else FAMILIES
        inputs = INPUTS["quick" if given.quick else "full"]
        norms = ["linf"] if given.quick else given.norms.split(",")
        runs = _runs(root, families, norms, inputs, compute=not given.table_only)
        rows, tops, flags, judging = _collect(root, runs)
        prices = costs(runs, judging)
    met, inside = report(families, norms, inputs=1) if given.quick else ("", [])
    if given.json:
        given.json.write_text(json.dumps([vars(row) for row in rows]))
    parts = {
        "totals": _totals(rows),
        "families": _families(rows),
        "codes": _shares(rows),
        "models": _models(rows, flags),
        "costs": prices,
    }
    for name, text in parts.items():
        show(f"detection {name}", text, write=given.write and not given.quick)
    if given.quick:
        show("detection quick", f"{parts['totals']}\n\n{met}.", write=given.write, note="Norm: linf")
    note = f"Digits: {inputs}; norms: {', '.join(norms)}"
    show("detection ceilings", _ceilings(tops), write=given.write, note=note)
    missed = [row for row in rows if row.over and not row.caught]
    for row in missed:
        print(f"missed: {row}")
    for breach in inside:
        print(f"met inside: {breach}")
    return 1 if missed or inside else 0


def _runs(
    root: Path, families: Sequence[Family], norms: Sequence[str], inputs: str, *, compute: bool
) -> dict[str, RunDir]:
    """Tag to run. The unmasked models come first: their attacks label the others."""
    if not compute:
        wanted = {f"detection/{f.name}/{norm}/{inputs}" for f in families for norm in norms}
        return {tag: run for tag, run in finished(root) if tag in wanted}
    runs = {}
    for norm in norms:
        for family in families:
            study = study_of(family, norm, inputs=inputs)
            runs[study.tag] = computed(root, study)
            print(f"computed {study.tag}", flush=True)
    return runs


def _collect(root: Path, runs: dict[str, RunDir]) -> tuple[list[Row], list[Row], Flags, dict[str, float]]:
    """All rows of lower estimates and of ceilings, the peers' flags, the seconds that judging a run took."""
    rows: list[Row] = []
    tops: list[Row] = []
    flags: Flags = {}
    judging: dict[str, float] = {}
    for tag, run in runs.items():
        _, _, norm, inputs = tag.split("/", 3)
        clean = runs.get(f"detection/{CLEAN}/{norm}/{inputs}")
        if clean is None:
            continue
        start = time.process_time()
        _judge(run)
        judging[tag] = time.process_time() - start
        rows += rows_of(root, tag, run, clean)
        tops += rows_of(root, tag, run, clean, claims=("upper_bound",))
        flags |= _peers(root, run, norm, rows)
    return rows, tops, flags, judging


def _judge(run: RunDir) -> None:
    """With the checks as they are now, whatever they were when it was computed."""
    with RunJudge() as judge:
        writer = RunWriter(run.db, judge, durable=False)
        try:
            writer.judge_all()
        finally:
            writer.close()


def _peers(root: Path, run: RunDir, norm: str, rows: Sequence[Row]) -> Flags:
    kept = root / f"peers-{run.id}.json"
    if kept.exists():
        return {tuple(key): value for key, value in json.loads(kept.read_text())}
    session = Session()
    found: Flags = {}
    with RunReader(run) as reader:
        specs = {(u["model"], u["masker"]): json.loads(u["spec"]) for u in reader.units()}
        attacks = [e for e in reader.estimates() if e["claim"] == "upper_bound" and e["status"] == "ok"]
    for (model, masker), spec in specs.items():
        subject = session.subject(spec["model"], spec["inputs"], spec["stack"])
        prepared = session.prepared(spec["model"], spec["inputs"])
        right = subject(prepared.inputs).argmax(1) == prepared.labels
        x, y = prepared.inputs[right], prepared.labels[right]
        truths = [r.truth for r in rows if r.subject == (model, masker, norm) and r.truth < float("inf")]
        if not len(x) or not truths:
            continue
        mine = [e for e in attacks if (e["model"], e["masker"]) == (model, masker)]
        white, black = (
            [float(e["evidence"].get(name, "inf")) for e in mine] for name in ("whitebox", "blackbox")
        )
        eps = statistics.median(truths)
        both = {"AutoAttack": autoattack(subject, x, y, white=white, black=black, eps=eps)}
        if norm != "l1":
            family = next(f for f in (*FAMILIES, *QUICK) if model in f.models)
            plain = session.subject({"use": f"digits:{family.models[model]}"}, spec["inputs"], [])
            both["IoAF"] = indicators(subject, plain, x, y, norm=norm, eps=1.5 * eps)
        found[model, masker, norm] = both
    kept.write_text(json.dumps([[list(key), value] for key, value in found.items()]))
    return found


def _ceilings(rows: Sequence[Row]) -> str:
    """Over the smallest verified distance, to which the attack's own points belong.

    Without the family whose nearest points have no answer: those are of no other class.
    """
    rows = [row for row in rows if row.family != "no answer" and row.radius < float("inf")]
    lines = []
    for name in (*dict.fromkeys(row.family for row in rows), "all"):
        part = [row for row in rows if name in (row.family, "all") and row.truth < float("inf")]
        held = [row.radius / row.truth for row in part if row.verdict == "held"]
        over = tensor([row.radius / row.truth for row in part]).double()
        if len(over):
            shares = (
                quantile(over, 0.5),
                quantile(over, 0.95),
                float(over.max()),
                max(held, default=float("inf")),
            )
            lines.append((name, len(part), len(held), *map(ratio, shares)))
    headings = ("family", "ceilings", "held", "median", "p95", "worst", "worst held")
    return markdown(headings, lines)


def _totals(rows: Sequence[Row]) -> str:
    lines = [
        "| | estimates | over-claims | below held | useless | below held | sound | of them not held |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    halves = {
        "unmasked models": [r for r in rows if r.family == CLEAN],
        "masked, thresholds set on": [r for r in rows if r.family != CLEAN and not r.frozen],
        "masked, frozen": [r for r in rows if r.frozen],
        "all": list(rows),
    }
    lines += [_line(name, part) for name, part in halves.items()]
    return "\n".join(lines)


def _families(rows: Sequence[Row]) -> str:
    lines = [
        "| family | estimates | over-claims | below held | useless | below held | sound | of them not held |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in (family.name for family in FAMILIES):
        part = [row for row in rows if row.family == name]
        if part:
            lines.append(_line(name + (" (frozen)" if part[0].frozen else ""), part))
    return "\n".join(lines)


def _line(name: str, rows: Sequence[Row]) -> str:
    over = [row for row in rows if row.over]
    useless = [row for row in rows if row.useless]
    sound = [row for row in rows if not row.over and not row.useless]
    cells = [name, str(len(rows))]
    for part in (over, useless):
        cells += [str(len(part)), _share(part)]
    return "| " + " | ".join([*cells, str(len(sound)), _share(sound)]) + " |"


def _share(rows: Sequence[Row]) -> str:
    caught = sum(row.caught for row in rows)
    return f"{caught} ({100 * caught / len(rows):.1f} %)" if rows else "–"


def _shares(rows: Sequence[Row]) -> str:
    over, useless = [r for r in rows if r.over], [r for r in rows if r.useless]
    sound = [r for r in rows if r.family == CLEAN and not r.over and not r.useless]
    sizes = len(over), len(useless), len(sound)
    lines = [
        "| code | of {} over-claims | of {} useless | of {} sound, unmasked |".format(*sizes),
        "| --- | --- | --- | --- |",
    ]
    counts = [Counter(code for row in part for code in row.codes) for part in (over, useless, sound)]
    for code in sorted({code for count in counts for code in count}):
        lines.append(f"| {code} | " + " | ".join(str(count[code]) for count in counts) + " |")
    verdicts = [Counter(row.verdict for row in part) for part in (over, useless, sound)]
    for verdict in ("refuted", "suspect", "vacuous", "unchecked", "held"):
        lines.append(f"| *{verdict}* | " + " | ".join(str(count[verdict]) for count in verdicts) + " |")
    return "\n".join(lines)


def _models(rows: Sequence[Row], flags: Flags) -> str:
    """Subjects on which most estimates of some estimator are wrong, and who noticed."""
    subjects: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        subjects.setdefault(row.subject, []).append(row)
    failing = [s for s, part in subjects.items() if _fails(part)]
    clean = [s for s, part in subjects.items() if part[0].family == CLEAN]
    lines = [
        "| rules | failing subjects found | unmasked subjects flagged |",
        "| --- | --- | --- |",
        f"| falsefloor | {_noticed(failing, subjects)} | {_noticed(clean, subjects)} |",
    ]
    for peer in ("AutoAttack", "IoAF"):
        cells = []
        for group in (failing, clean):
            known = [s for s in group if peer in flags.get(s, {})]
            cells.append(f"{sum(bool(flags[s][peer]) for s in known)} of {len(known)}")
        lines.append(f"| {peer} | " + " | ".join(cells) + " |")
    reasons = Counter(
        f"{peer}: {flag}" for s in failing for peer, found in flags.get(s, {}).items() for flag in found
    )
    alarms = Counter(
        f"{peer}: {flag}" for s in clean for peer, found in flags.get(s, {}).items() for flag in found
    )
    told = [f"{name} {count}" for name, count in sorted(reasons.items())]
    said = [f"{name} {count}" for name, count in sorted(alarms.items())]
    return "\n".join(
        [
            *lines,
            "",
            f"On failing subjects: {'; '.join(told) or 'none'}.",
            f"On unmasked ones: {'; '.join(said) or 'none'}.",
        ]
    )


def _fails(rows: Sequence[Row]) -> bool:
    """Whether for some estimator at least half of a subject's estimates are over-claims or useless."""
    by: dict[str, list[bool]] = {}
    for row in rows:
        by.setdefault(row.estimator, []).append(row.over or row.useless)
    return rows[0].family != CLEAN and any(sum(part) * 2 >= len(part) for part in by.values())


def _noticed(group: Sequence[tuple[str, str, str]], subjects: dict[tuple[str, str, str], list[Row]]) -> str:
    """Failing: an estimate that is wrong is not held. Unmasked: most sound ones of an estimator are not."""
    found = 0
    for subject in group:
        rows = subjects[subject]
        if rows[0].family == CLEAN:
            by: dict[str, list[bool]] = {}
            for row in rows:
                if not row.over and not row.useless:
                    by.setdefault(row.estimator, []).append(row.caught)
            found += any(sum(part) * 2 >= len(part) for part in by.values())
        else:
            found += any(row.caught for row in rows if row.over or row.useless)
    return f"{found} of {len(group)}"


if __name__ == "__main__":
    raise SystemExit(main())
