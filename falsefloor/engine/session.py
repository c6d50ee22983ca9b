"""What a compute process keeps between units: loaded models, their inputs, composed subjects, the device."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any, TypeVar

import torch
from torch import Tensor

from falsefloor.api import LabelledInputs, LoadedModel, Masker, NotApplicable
from falsefloor.engine.context import ROWS
from falsefloor.engine.identity import calibrated, files_of
from falsefloor.engine.pace import pace
from falsefloor.engine.prepare import Prepared, load, prepare
from falsefloor.engine.surroundings import undisturbed
from falsefloor.engine.untouched import Place, Pool, Untouched, moved_by_itself
from falsefloor.errors import FalsefloorError, UsageError, did_you_mean
from falsefloor.plugins.described import printable
from falsefloor.plugins.loading import make
from falsefloor.study.grammar import split_ref
from falsefloor.study.units import canonical, digest, estimator_of, named
from falsefloor.subjects.compose import compose
from falsefloor.subjects.copies import check_initialised, copied
from falsefloor.subjects.subject import ModelSubject

PACED = 2.0
"""Seconds after which no further stack is timed: where a pass takes that long, maskers hardly add to it."""
LONGEST = 4000
"""Characters of an error that are kept."""
Found = TypeVar("Found")


@dataclass
class Session:
    """Loads on first use and keeps.

    `rows` is what one forward may take: of the subject last asked for, by its memory; out-of-memory halves it
    for good.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    live: dict[str, tuple[LoadedModel, LabelledInputs]] = field(default_factory=dict)
    """Models and inputs handed over in process, by reference."""
    at: int | None = None
    """The input whose own domain counts, where a model fixes some of its features."""
    _prepared: dict[str, Prepared] = field(default_factory=dict)
    _subjects: dict[str, ModelSubject] = field(default_factory=dict)
    _learnt: dict[str, tuple[Masker, str]] = field(default_factory=dict)
    _plugins: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    _noted: dict[str, Untouched] = field(default_factory=dict)
    """What each subject was when it was made."""
    _pool: Pool = field(default_factory=Pool)
    _lent: dict[str, Untouched] = field(default_factory=dict)
    """What the modules were that were handed over in process: they are their callers'."""
    spent: bool = False
    """Whether what was computed left this process in no state to go on with."""
    _most: int = ROWS
    _fits: int = ROWS

    @property
    def rows(self) -> int:
        return min(self._most, self._fits)

    @rows.setter
    def rows(self, most: int) -> None:
        self._most = most

    def give_back(self) -> None:
        """Let what was handed over be as it was, should anything have reached it."""
        for lent in self._lent.values():
            if lent.changes():
                lent.restore()

    def prepared(self, model: Mapping[str, Any], inputs: str) -> Prepared:
        key = canonical([model, inputs])
        if key not in self._prepared:
            live = self.live.get(model["use"])
            if live is not None and model["use"] not in self._lent:
                self._lent[model["use"]] = Untouched(live[0].module, self._pool)
            loaded, labelled = load(model, inputs) if live is None else (_copied(live[0]), live[1])
            self._prepared[key] = prepare(loaded, labelled, model, self.device, most=self._most)
            if live is None:
                for kind, ref in (("model", model["use"]), ("input", inputs or loaded.inputs or "")):
                    self.identified(model, inputs, kind, split_ref(ref)[0], {})
        return self._prepared[key]

    def subject(self, model: Mapping[str, Any], inputs: str, stack: list[dict[str, Any]]) -> ModelSubject:
        """The composed subject. Raises `UsageError` for a place that does not exist."""
        key = canonical([model, inputs, stack])
        self._fits = self.prepared(model, inputs).rows
        if key not in self._subjects:
            made = self._composed(model, inputs, stack)
            self._subjects[key], self._noted[key] = made, Untouched(made, self._pool)
        prepared = self.prepared(model, inputs)
        if self.at is None or not prepared.alone:
            return self._subjects[key]
        return prepared.subject(self._subjects[key].module, at=self.at)

    def _masker(self, model: Mapping[str, Any], inputs: str, layer: Mapping[str, Any]) -> Masker:
        """A layer's masker, having learnt from the model's inputs where it does that."""
        masker: Masker = make("masker", layer["use"], layer["params"])
        known = self.identified(model, inputs, "masker", layer["use"], layer["params"])
        if not callable(getattr(masker, "calibrate", None)):
            return masker
        place = canonical([model, inputs, layer["use"], layer["params"]])
        if place not in self._learnt:
            prepared = self.prepared(model, inputs)
            self._learnt[place] = calibrated(masker, prepared, name=layer["use"], rows=self.rows)
        learnt, known["learnt"] = self._learnt[place]
        return learnt

    def identified(
        self, model: Mapping[str, Any], inputs: str, kind: str, use: str, params: Mapping[str, Any]
    ) -> dict[str, Any]:
        """What a plugin's answers depend on beside its version: files, and what it learnt of these inputs."""
        known = self._plugins.setdefault(canonical([model, inputs]), {})
        name = named(kind, use, params)
        if name not in known:
            try:
                plugin = make(kind, use, params)
            except FalsefloorError:
                return {}  # one that cannot be made says so where it is used
            files = files_of(plugin, name=use)
            known[name] = {"files": files} if files else {}
        return known[name]

    def fingerprint(self, model: Mapping[str, Any], inputs: str) -> dict[str, Any]:
        """The model's own, and that of every plugin identified beside it that has one."""
        plugins = {
            name: told for name, told in self._plugins.get(canonical([model, inputs]), {}).items() if told
        }
        own = dict(self.prepared(model, inputs).fingerprint)
        return own | {"plugins": plugins} if plugins else own

    def _composed(self, model: Mapping[str, Any], inputs: str, stack: list[dict[str, Any]]) -> ModelSubject:
        prepared = self.prepared(model, inputs)
        maskers = [(self._masker(model, inputs, layer), layer["at"]) for layer in stack]
        module = compose(prepared.module, maskers).to(self.device)
        return prepared.subject(module)

    def forget(self, spec: Mapping[str, Any]) -> None:
        """Let a unit's subject be made anew for the next one."""
        key = _key(spec)
        if (noted := self._noted.pop(key, None)) is not None:
            noted.restore()  # for a module that stands for its own copy
            self._subjects.pop(key, None)

    def changed(self, task: Task) -> dict[Place, str]:
        """What of a unit's subject is not as it was, as far as that can be told while a stranger's changes
        of this process are not put back: some are both."""
        try:
            return self._noted[_key(task.spec)].changes()
        except Exception:
            return {}

    def touched(self, task: Task, before: Mapping[Place, str], *, calls: int) -> list[str]:
        """What of a unit's subject was changed by who was given it, in words; it is made anew then.

        before: what ``changed`` told while the process was not put back.

        What the model changes itself, when it is asked as often (``calls``), is no sign of anything.
        """
        spec, key = task.spec, _key(task.spec)
        noted = self._noted[key]
        if not (changes := {**before, **noted.changes()}):
            return []
        noted.restore_classes()
        made = self._composed(spec["model"], spec["inputs"], spec["stack"])
        fresh = Untouched(made, self._pool)
        fresh.ignored = noted.ignored
        own = moved_by_itself(made, fresh, task.inputs, calls=calls)
        noted.ignored |= own
        if not (blamed := {place: words for place, words in changes.items() if words and place not in own}):
            return []
        noted.restore()
        del self._subjects[key]
        self.subject(spec["model"], spec["inputs"], spec["stack"])
        self._noted[key].ignored = noted.ignored
        return sorted(blamed.values())

    def ready(
        self, model: Mapping[str, Any], inputs: str, parts: Sequence[list[dict[str, Any]] | Mapping[str, Any]]
    ) -> dict[str, Any]:
        """Facts and fingerprint of a model, loaded with its inputs, every part made: stacks, placed, and the
        plugins of units; or the error in words, with its exit code.

        ``declined``: the model's or the inputs' source declines; a masker that does is told by its units.
        What a model sets while it loads stays in a process of its own, and is put back in its caller's.
        """
        with ExitStack() as after:
            if self.live:
                after.enter_context(undisturbed())
                after.callback(self.give_back)
            try:
                loaded = self.prepared(model, inputs)
                for part in parts:
                    if isinstance(part, Mapping):
                        with suppress(Exception):  # one that cannot be made fails its own units, in its words
                            self.identified(model, inputs, part["kind"], part["use"], part["params"])
                        continue
                    with suppress(NotApplicable):
                        self.subject(model, inputs, part)
            except NotApplicable as error:
                said = declined(error, who=f"the source of {model['use']}")
                return {"error": said, "exit_code": UsageError.exit_code, "declined": True}
            except FalsefloorError as error:
                return {"error": str(error), "exit_code": error.exit_code}
            except (Exception, SystemExit) as error:  # one that exits fails its own model
                return {"error": describe_error(error), "exit_code": UsageError.exit_code}
            return {
                "facts": dict(loaded.facts),
                "fingerprint": self.fingerprint(model, inputs),
                "device": str(self.device),
                "pace": self._pace(model, inputs, [part for part in parts if not isinstance(part, Mapping)]),
            }

    def _pace(
        self, model: Mapping[str, Any], inputs: str, stacks: Sequence[list[dict[str, Any]]]
    ) -> dict[str, float]:
        """The mean of stacks: in front of a small model a masker is most of the cost."""
        loaded, until, found = self.prepared(model, inputs), time.monotonic() + PACED, []
        for stack in stacks or [[]]:
            with suppress(NotApplicable):
                found.append(pace(self.subject(model, inputs, stack), loaded.inputs[:1], rows=loaded.rows))
            if time.monotonic() > until:
                break
        measured = [one for one in found if one]
        return {name: fmean(one[name] for one in measured) for name in measured[0]} if measured else {}

    def with_room(self, look: Callable[[], Found]) -> Found:
        """What ``look`` gives, with smaller forwards on out-of-memory."""
        while True:
            try:
                return look()
            except Exception as error:
                if not self.less_room(error):
                    raise

    def less_room(self, error: BaseException) -> bool:
        """Whether it is worth trying again: after out-of-memory, with half the rows a forward."""
        if not is_out_of_memory(error):
            return False
        if self.rows <= 1:
            self.spent = True
            return False
        self.rows //= 2
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return True


def _key(spec: Mapping[str, Any]) -> str:
    """Of a unit's subject."""
    return canonical([spec["model"], spec["inputs"], spec["stack"]])


def _copied(loaded: LoadedModel) -> LoadedModel:
    """The caller's module stays as it is."""
    check_initialised(loaded.module)
    module = copied(loaded.module)
    if (compiled := getattr(loaded.module, "_compiled_call_impl", None)) is not None:
        module._compiled_call_impl = compiled  # torch's copy forgets it, and it is to be said
    return replace(loaded, module=module)


@dataclass(frozen=True)
class Task:
    """A unit's description with what it needs from the session: what every kind of unit starts from."""

    spec: Mapping[str, Any]
    prepared: Prepared
    subject: ModelSubject
    numbers: range
    """the numbers of its inputs"""

    @property
    def key(self) -> str:
        return digest(canonical(self.spec))

    @property
    def estimator(self) -> Mapping[str, Any]:
        """What it runs: use, params, gradient and, of a follow-up, the label of the estimate in question."""
        return estimator_of(self.spec) or {}

    @property
    def inputs(self) -> Tensor:
        return self.prepared.inputs[self.numbers.start : self.numbers.stop]

    @property
    def labels(self) -> Tensor:
        return self.prepared.labels[self.numbers.start : self.numbers.stop]

    def at(self, numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Inputs and labels of some of its numbers."""
        chosen = torch.tensor([n - self.numbers.start for n in numbers], device=self.inputs.device)
        return self.inputs[chosen.long()], self.labels[chosen.long()]


def usable_device(name: str) -> torch.device:
    """The device by torch's name for it; "auto": a GPU where there is one.

    Raises `UsageError` for one that does not exist or that this installation of torch cannot use.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        known = ["cpu", *(f"cuda:{n}" for n in range(torch.cuda.device_count()))]
        known += ["mps"] * torch.backends.mps.is_available()
        said = str(error).splitlines()[0]
        # where it knows no such kind of device, torch lists all that it was ever built for
        more = "" if said.startswith("Expected one of") else f" torch says: {said[:200]}"
        raise UsageError(
            f"the device {name!r} cannot be used here. {did_you_mean(name, ['auto', *known])}{more}"
        ) from error
    return device


def is_out_of_memory(error: BaseException) -> bool:
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    said = str(error) if isinstance(error, RuntimeError) else ""
    return known or "not enough memory" in said or "allocate memory" in said


def declined(error: NotApplicable, *, who: str) -> str:
    """The words in which a plugin declines, as they are stored."""
    return printable(str(error).strip(), longest=600) or f"{who} declines and does not say why"


def describe_error(error: BaseException) -> str:
    """The error with the last place outside this package that it passed: what a plugin's author needs."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    try:
        said = str(error)
    except Exception:  # an error's own words are a stranger's code too
        said = "it cannot say why"
    return printable(f"{type(error).__name__}: {said}{place}", longest=LONGEST)
