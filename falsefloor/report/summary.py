"""A run in text: its head, the table, what was refuted and where to go on. What `show` prints."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions
from rich.text import Text

from falsefloor.report.comparison import Comparison
from falsefloor.report.refutations import Kind, Refutation, sentence, suspicions
from falsefloor.report.table import table_lines, wrapped
from falsefloor.report.text import (
    STYLES,
    Glyphs,
    clean,
    clock,
    glyphs_for,
    roughly,
    share,
    tallied,
    verdict_word,
)
from falsefloor.store.standing import RunInfo

SHOWN = 8
"""Refutations told in sentences; the others are counted."""


@dataclass(frozen=True)
class Summary:
    """A rich renderable; ``live`` leaves out what only a finished run can say."""

    info: RunInfo
    comparison: Comparison
    refuted: tuple[Refutation, ...] = ()
    kinds: tuple[Kind, ...] = ()
    live: bool = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        width, glyphs = options.max_width, glyphs_for(options.encoding)
        yield from _fold(head(self.info, self.comparison, glyphs=glyphs), width)
        yield Text("")
        yield from table_lines(self.comparison, width=width, glyphs=glyphs)
        if self.info.error:
            yield from _fold(Text(f"error: {clean(self.info.error)}", style="bold red"), width)
        if not self.live:
            yield from _refuted(self.refuted, self.comparison, self.info.id, width=width, glyphs=glyphs)
            yield from _kinds(self.kinds, width=width)
            yield from _unanswered(self.comparison, width=width)
            yield from _onwards(self.info, self.comparison, self.refuted)


def head(info: RunInfo, comparison: Comparison, *, glyphs: Glyphs) -> Text:
    """ "run 7f3a · digits:mlp · linf · cpu · 24/24 units · 00:01:12 · 3 refuted · done"."""
    parts = [Text(f"run {clean(info.id)}", style="bold")]
    parts += [Text(clean(name)) for name in ([info.tag] if info.tag else [])]
    parts += [Text(clean(names[0])) for names in (comparison.models, comparison.norms) if len(names) == 1]
    parts += [Text(clean(info.device)), Text(share(info.units())), Text(clock(info.seconds))]
    parts += [Text(f"{roughly(info.left)} left")] if info.left is not None else []
    parts += [Text(said, style=STYLES.get(word, "")) for word, said in tallied(info.counts).items()]
    parts.append(Text(clean(info.status), style="cyan" if info.status in ("running", "queued") else "bold"))
    return Text(f" {glyphs.dot} ").join(parts)


def _refuted(
    refuted: tuple[Refutation, ...], comparison: Comparison, run: str, *, width: int, glyphs: Glyphs
) -> Iterator[Text]:
    if not refuted:
        return
    yield Text("")
    for one in refuted[:SHOWN]:
        model, masker, norm = clean(one.series.model), clean(one.series.masker), one.series.norm
        subject = [model] * (len(comparison.models) > 1) + [masker] + [norm] * (len(comparison.norms) > 1)
        name = f"{' '.join(subject)} {glyphs.dot} {clean(one.series.label)}"
        many = f" {glyphs.dot} {one.count} inputs, the nearest:" if one.count > 1 else ""
        yield from _fold(Text.assemble(("REFUTED  ", STYLES["refuted"]), (name, "bold"), many), width)
        yield from (Text(f"  {piece}") for piece in wrapped(sentence(one), width - 2))
        located = f"the gradient is lost at {one.located}" if one.located else ""
        yield from (Text(f"  {piece}") for piece in wrapped(located, width - 2))
        yield from (Text(f"  {piece}", style="dim") for piece in wrapped(suspicions(one), width - 2))
        if command := one.replay(run):
            yield Text(f"  {command}", style="dim")
    if len(refuted) > SHOWN:
        yield Text(f"and {len(refuted) - SHOWN} more refuted cells.")


def _kinds(kinds: tuple[Kind, ...], *, width: int) -> Iterator[Text]:
    """What others' checks found, beside what ours did: one line a kind, and a message of it."""
    told = [(k.severity, verdict_word(k.severity), f"{k.code} {k.name}", k.message, k.count) for k in kinds]
    yield from _counted(told, "kinds of warnings", width=width)


def _unanswered(comparison: Comparison, *, width: int) -> Iterator[Text]:
    """Why estimates failed or were skipped, where no row says it: one line an estimator and reason."""
    told: Counter[tuple[str, str, str]] = Counter()
    for row in comparison.rows:
        for entry in filter(None, row.entries):
            word, why = "failed" if entry.failed else "skipped", clean(entry.cell.failure)
            if why and why != row.reason:
                told[word, clean(entry.series.label), why] += entry.cell.verdicts.get(word, 0)
    rows = [(word, word, label, why, count) for (word, label, why), count in told.items()]
    yield from _counted(rows, "reasons", width=width)


def _counted(told: Sequence[tuple[str, str, str, str, int]], what: str, *, width: int) -> Iterator[Text]:
    """(state, its word, name, words, of how many estimates), a line each with its words below."""
    if told:
        yield Text("")
    for state, word, name, words, count in told[:SHOWN]:
        many = f", {count:,} estimate{'s' * (count != 1)}"
        line = Text.assemble((f"{word:<8}", STYLES.get(state, "")), (f" {name}", "bold"), many)
        yield from _fold(line, width)
        yield from (Text(f"  {piece}", style="dim") for piece in wrapped(words, width - 2))
    if len(told) > SHOWN:
        yield Text(f"and {len(told) - SHOWN} more {what}.")


def _onwards(info: RunInfo, comparison: Comparison, refuted: tuple[Refutation, ...]) -> Iterator[Text]:
    if info.error and not info.units_total:
        # nothing was planned: there is nothing to resume, open or export, and the error says what to mend
        return
    codes = [one.code for one in refuted] + [
        code[0]
        for row in comparison.rows
        if row.told is not None and (code := re.match(r"FF\d{3}", row.told.cell.reason))
    ]
    run = clean(info.id)
    words = [f"falsefloor tui {run}", f"falsefloor export {run} --format html"]
    if info.status in ("lost", "failed", "cancelled") or info.units_failed:
        words.insert(0, f"falsefloor resume {run}")
    if codes:
        words.insert(0, f"falsefloor explain {clean(codes[0])}")
    yield Text("")
    for at, word in enumerate(words):
        yield Text(("next: " if at == 0 else "      ") + word, style="dim")


def _fold(line: Text, width: int) -> list[Text]:
    return list(line.wrap(Console(width=width), width)) if line.cell_len > width else [line]
