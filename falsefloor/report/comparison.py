"""The comparison: subject × norm against estimators, as values that every surface paints.

What a row says is decided here and nowhere else: its verdict, of how many inputs, why, the multiple of the
unmasked number, how many inputs are classified as labelled. Over all inputs or for single ones, from a run as
it stands or from the app's snapshot: all through `compare`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from falsefloor.checks.verdicts import VERDICTS, Place, rank
from falsefloor.plugins.names import OWN
from falsefloor.report.cells import Brief, Entry, summary
from falsefloor.report.text import Glyphs, clean, verdict_word
from falsefloor.store.cells import Cell
from falsefloor.store.reader import RunReader
from falsefloor.store.rows import SeriesRow
from falsefloor.store.standing import ENDED
from falsefloor.study.units import is_masked


@dataclass(frozen=True)
class Row:
    """A subject under a norm, over all inputs or for one.

    told: the entry that its verdict and reason speak of. agreement: on how many inputs
    the masked and the unmasked model gave the same class, of how many.
    """

    subject: Place
    entries: tuple[Entry | None, ...]
    told: Entry | None = None
    agreement: tuple[int, int] | None = None
    correct: tuple[int, int] = (0, 0)
    """how many inputs are classified as labelled, of how many of which that is known"""

    @property
    def verdict(self) -> str:
        """The gravest verdict or state of what was asked for; empty while nothing is there."""
        return self.told.word if self.told else ""

    @property
    def reason(self) -> str:
        return self.told.reason if self.told else ""

    @property
    def words(self) -> str:
        """The verdict as it is printed: "REFUTED", or "3/5 REFUTED" where it is not so on every input."""
        told, word = self.told, verdict_word(self.verdict)
        return f"{told.count}/{told.of} {word}" if told and 0 < told.count < told.of else word

    @cached_property
    def ratio(self) -> float | None:
        """Of the floor that moved most against the unmasked subject, up or down."""
        found = [entry.ratio for entry in self.entries if entry is not None and entry.ratio is not None]
        return max(found, key=lambda f: abs(math.log(f)) if f > 0 else math.inf, default=None)

    @property
    def correct_words(self) -> str:
        """ "4/5 correct"; empty where all are."""
        correct, of = self.correct
        return f"{correct}/{of} correct" if correct < of else ""

    def why(self, glyphs: Glyphs) -> str:
        """What stands beside the verdict: how many inputs are correct where not all are, and the reason."""
        return f" {glyphs.dot} ".join(part for part in (self.correct_words, self.reason) if part)

    @property
    def changed_class(self) -> str:
        """Said where a masker interferes with the model: the comparison is then with another model."""
        same, of = self.agreement or (0, 0)
        return f"the masker changes the class of {of - same}/{of} inputs" if same < of else ""

    @property
    def same_class(self) -> str:
        """ "9/10": on how many inputs the masker leaves the class; empty where nobody looked."""
        same, of = self.agreement or (0, 0)
        return f"{same}/{of}" if of else ""

    def numbers(self, glyphs: Glyphs) -> list[str]:
        """The columns as text, empty where there is no estimate."""
        return ["" if entry is None else entry.shown(glyphs) for entry in self.entries]

    def line(self, glyphs: Glyphs) -> str:
        """The row in one line: "digits:mlp staircase:c=255 linf clever  ≥0.3000✗  REFUTED: FF201 …"."""
        numbers = [entry.shown(glyphs) for entry in self.entries if entry is not None]
        name = " ".join(clean(part) for part in self.subject[:4] if part)
        why = self.why(glyphs)
        return "  ".join([name, *numbers, f"{self.words}: {why}" if why else self.words])

    def alone(self, entry: Entry) -> Row:
        """A row of one estimate: tables that have a line an estimator."""
        place = self.subject._replace(label=entry.series.label)
        return replace(self, subject=place, entries=(entry,), told=entry)


@dataclass(frozen=True)
class Comparison:
    """columns: the estimators' labels. said: what is to be known of the models before any number; words: of
    numbers that rest on somebody else's word, behind them."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    said: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    @cached_property
    def ratios(self) -> bool:
        """Whether anything here can be compared with an unmasked subject."""
        return any(row.ratio is not None for row in self.rows)

    @cached_property
    def models(self) -> list[str]:
        return list(dict.fromkeys(row.subject.model for row in self.rows))

    @cached_property
    def norms(self) -> list[str]:
        return list(dict.fromkeys(row.subject.norm for row in self.rows))

    def name(self, row: Row) -> str:
        """A row's name, without what is the same in every row."""
        at = row.subject
        parts = [at.model] * (len(self.models) > 1) + [at.masker] + [at.norm] * (len(self.norms) > 1)
        return " ".join(clean(part) for part in parts)

    def entry(self, place: Place) -> Entry | None:
        """The entry of a cell, by model, masker, norm, label and, among single inputs, its input."""
        for row in self.rows:
            if row.subject.subject == place.subject:
                return next((e for e in row.entries if e is not None and e.series.label == place.label), None)
        return None

    def without_recovered(self) -> Comparison:
        """The same rows without the columns of estimates that were made again with a repaired gradient."""
        kept = [
            at
            for at in range(len(self.columns))
            if any((entry := row.entries[at]) and entry.series.recovers is None for row in self.rows)
        ]
        rows = tuple(replace(row, entries=tuple(row.entries[at] for at in kept)) for row in self.rows)
        return replace(self, columns=tuple(self.columns[at] for at in kept), rows=rows)


def legend(comparison: Comparison, glyphs: Glyphs) -> list[str]:
    """What the signs of these rows mean, in phrases; nothing of those that do not occur."""
    shown = [e for row in comparison.rows for e in row.entries if e is not None and e.cell.radius is not None]
    estimates = [entry.cell.capped for entry in shown if entry.series.claim == "lower_estimate"]
    signs = {
        f"{glyphs.about} estimated floor": False in estimates,
        f"{glyphs.capped} estimated floor, at its cap": True in estimates,
        f"{glyphs.certified} certified floor": any(e.series.claim == "lower_bound" for e in shown),
        f"{glyphs.most} ceiling: an adversarial input was found there": any(
            not entry.lower and entry.cell.radius != math.inf for entry in shown
        ),
    }
    words = [sign for sign, occurs in signs.items() if occurs]
    words += [clean(one) for one in comparison.words]
    marks = {mark for entry in shown for mark in entry.said(glyphs).mark}
    words += [f"{mark} {word}" for word in VERDICTS if (mark := glyphs.mark(word)) and mark in marks]
    if glyphs.mark("failed") in marks:
        words.append(f"{glyphs.mark('failed')} failed for some inputs")
    if comparison.ratios:
        words.append(f"{glyphs.times} none: the floor that moved most, over its unmasked value")
    judged = [row.agreement for row in comparison.rows if row.agreement]
    if judged and all(same == of for same, of in judged):
        words.append("all maskers leave all inputs in their class")
    elif judged:
        words.append("same class: inputs that the masker leaves in their class")
    if any(entry.cell.correct > 1 for entry in shown):
        wrong = any(row.correct_words for row in comparison.rows)
        words.append("numbers are medians over the inputs" + " that are classified as labelled" * wrong)
    return words


def compare(
    series: Sequence[SeriesRow],
    cells: Mapping[int, Cell],
    *,
    agreement: Mapping[tuple[str, str, str], tuple[int, int]] | None = None,
    briefs: Mapping[tuple[int, int], Brief] | None = None,
    ended: bool = False,
    said: Iterable[str] = (),
    words: Iterable[str] = (),
    before: Comparison | None = None,
) -> Comparison:
    """The comparison of a run from its series and their summaries, in the order of the study.

    briefs: (series, input) to what became of it; where it is given, every row is of one input. ended: whether
    the run is over, so that nothing moves any more, whatever was reported last. before: an earlier comparison
    of the run; its rows stay the same objects where the series and the cells are the same ones.
    """
    columns = tuple(dict.fromkeys(one.label for one in series))
    table: dict[Place, dict[str, Entry]] = {}
    for place, one, cell in _cells(series, cells, briefs):
        table.setdefault(place, {})[one.label] = Entry(
            one, replace(cell, live=None) if ended and cell.live else cell
        )
    bare = {
        (place.model, place.norm, place.input): place
        for place, entries in table.items()
        if not any(is_masked(entry.series.stack) for entry in entries.values())
    }
    kept = {row.subject: row for row in before.rows} if before and before.columns == columns else {}
    stays = {place: _is_of(kept.get(place), entries) for place, entries in table.items()}
    rows = []
    for place, entries in table.items():
        unmasked = bare.get((place.model, place.norm, place.input))
        base = table[unmasked] if unmasked else {}
        seen = (agreement or {}).get(place[:3]) if briefs is None else None
        if stays[place] and (unmasked is None or stays[unmasked]) and kept[place].agreement == seen:
            rows.append(kept[place])
            continue
        known = {
            label: entry if base is entries else replace(entry, ratio=_ratio(entry, base.get(label)))
            for label, entry in entries.items()
        }
        at = tuple(known.get(column) for column in columns)
        counted = max(entries.values(), key=lambda entry: entry.cell.judged).cell
        rows.append(Row(place, at, _told(at), seen, (counted.correct, counted.judged)))
    return Comparison(columns, tuple(rows), tuple(said), tuple(words))


def _is_of(row: Row | None, entries: Mapping[str, Entry]) -> bool:
    """Whether a row was made of these very series and cells."""
    known = [entry for entry in row.entries if entry is not None] if row else []
    pairs = [(entry, entries.get(entry.series.label)) for entry in known]
    return len(known) == len(entries) and all(
        now is not None and now.cell is entry.cell and now.series is entry.series for entry, now in pairs
    )


def _cells(
    series: Sequence[SeriesRow], cells: Mapping[int, Cell], briefs: Mapping[tuple[int, int], Brief] | None
) -> Iterator[tuple[Place, SeriesRow, Cell]]:
    """What stands where: subjects in the study's order, their inputs by number."""
    places = {one.id: Place(one.model, one.masker, one.norm) for one in series}
    if briefs is None:
        yield from ((places[one.id], one, cells.get(one.id) or summary(one.id, ())) for one in series)
        return
    order = {place: at for at, place in enumerate(dict.fromkeys(places.values()))}
    known = {one.id: one for one in series}
    for number, input_ in sorted(briefs, key=lambda at: (order[places[at[0]]], at[1], at[0])):
        told = summary(number, (briefs[number, input_],))
        yield places[number]._replace(input=input_), known[number], told


def _told(entries: Iterable[Entry | None]) -> Entry | None:
    """The entry with the gravest word: of equals the lower bound that was asked for, then the first.

    What was added unasked speaks where it found something, and never vouches for a row alone.
    """
    found = [
        entry
        for entry in entries
        if entry is not None and entry.word and (entry.series.asked or rank(entry.word) < rank("unchecked"))
    ]
    return min(
        found,
        key=lambda e: (rank(e.word), not (e.lower and e.series.asked), e.series.recovers is not None),
        default=None,
    )


def _ratio(entry: Entry, base: Entry | None) -> float | None:
    radius, bare = entry.cell.radius, base.cell.radius if base else None
    if not entry.lower or radius is None or not bare or not (math.isfinite(bare) and math.isfinite(radius)):
        return None
    return radius / bare


def read_comparison(reader: RunReader) -> Comparison:
    """The comparison as a run stands now."""
    series = reader.series()
    return compare(
        series,
        reader.cells(),
        agreement=reader.agreement(),
        ended=reader.info().status in ENDED,
        said=reader.said(),
        words=_words(reader, [one for one in series if one.plugin.get("dist") != OWN]),
    )


def _words(reader: RunReader, foreign: Sequence[SeriesRow]) -> Iterator[str]:
    """Whose word the numbers of others' estimators are.

    Confidences are independent over inputs, so that all of them hold with their product.
    """
    labels: dict[str, list[SeriesRow]] = {}
    for one in foreign:
        labels.setdefault(one.label, []).append(one)
    for label, of in labels.items():
        told = [row for one in of for row in reader.words(one.id)]
        author = f"{of[0].plugin.get('dist', '')} {of[0].plugin.get('version', '')}".strip()
        about = next((said for _, said, _ in told if said), None)
        if about is not None:
            yield f"{label}: {author} speaks of another function, {about}"
        elif of[0].claim == "lower_bound" and told:
            yield f"{label}: certified on the word of {author}, challenged here and not proven"
        sure = [(value, count) for value, _, count in told if value is not None]
        if sure:
            least, many = min(value for value, _ in sure), sum(count for _, count in sure)
            together = math.prod(value**count for value, count in sure)
            yield f"{label}: each claim holds with probability {least:.6g}, all {many} with {together:.6g}"
