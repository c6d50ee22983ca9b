"""What can be done with a run, on every page that speaks of one: the keys mean the same on all of them."""

from __future__ import annotations

from pathlib import Path

from falsefloor.tui import commands
from falsefloor.tui.actions import Action
from falsefloor.tui.screens.page import Page
from falsefloor.tui.snapshot import RunLine, Snapshot


class OfRun(Page):
    """Subclasses say which run they speak of."""

    @property
    def spoken_of(self) -> RunLine | Snapshot | None:
        raise NotImplementedError

    def offers(self, action: Action) -> str:
        one = self.spoken_of if self.standing else None
        if one is not None and action.name == "pause":
            return commands.next_step(one.status, failed=bool(one.info and one.info.units_failed))
        if one is not None and action.name == "cancel" and one.status not in commands.LIVE:
            return ""
        return super().offers(action)

    def action_pause(self) -> None:
        """Or go on with it."""
        one = self.spoken_of
        if one is None or one.info is None:
            return
        run, status = one.run, one.info.status
        if status == "done" and not one.info.units_failed:
            self.bench.say(f"Run {run.id} is done.")
        else:
            self.bench.do(lambda: commands.pause_or_go_on(run, status))

    def action_cancel(self) -> None:
        if (one := self.spoken_of) is None:
            return
        run = one.run
        if one.status not in commands.LIVE:
            self.bench.say(f"Run {run.id} is {one.status}; there is nothing to cancel.")
            return
        asked = (f"Cancel run {run.id}?", "What is finished stays. Resume goes on with it.", "Cancel it")
        self.bench.show(
            "confirm", *asked, then=lambda yes: self.bench.do(lambda: commands.cancel(run)) if yes else None
        )

    def action_again(self) -> None:
        """Compose a new run that begins as a copy of this one."""
        if (one := self.spoken_of) is not None:
            run = one.run
            self.bench.do(lambda: commands.study_of(run), lambda study: self.bench.show("new run", study))

    def action_diagnose(self) -> None:
        if (one := self.spoken_of) is not None:
            run, width, glyphs = one.run, self.size.width - 4, self.bench.glyphs
            self.bench.show(
                "lines",
                f"diagnosis of run {run.id}",
                lambda: commands.diagnosis(run, width=width, glyphs=glyphs),
            )

    def action_log(self) -> None:
        if (one := self.spoken_of) is not None:
            run = one.run
            self.bench.show("text", f"log of run {run.id}", lambda: commands.tail(run.log))

    def action_export(self) -> None:
        if (one := self.spoken_of) is None:
            return
        run = one.run

        def answered(given: tuple[str, str] | None) -> None:
            if given is not None:
                form, path = given
                self.bench.do(
                    lambda: commands.export(run, form, Path(path)),
                    lambda written: self.bench.say(f"Written: {written}"),
                )

        self.bench.show("export", run.id, then=answered)
