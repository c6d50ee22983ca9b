"""Every key of the app, in one table: bindings, the bar below, the help and the palette are made from it.

No ctrl+s or ctrl+q (flow control), no function keys, no alt chords: they do not survive tmux and SSH.
"""

from __future__ import annotations

from dataclasses import dataclass

from textual.binding import Binding, BindingType


@dataclass(frozen=True)
class Action:
    """keys as Textual names them, the first is shown; bar: its place in the bar below, 0 for none."""

    where: str
    name: str
    keys: str
    label: str
    help: str
    bar: int = 0
    shown: str = ""

    @property
    def id(self) -> str:
        return f"{self.where}.{self.name}"

    @property
    def key(self) -> str:
        first = self.keys.split(",")[0]
        return self.shown or _NAMES.get(first, first)


_NAMES = {
    "question_mark": "?",
    "slash": "/",
    "escape": "esc",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "space": "space",
    "enter": "enter",
    "upper_y": "Y",
}

WHERE = {
    "everywhere": "Everywhere",
    "compare": "Compare: the table",
    "detail": "Detail: one estimate",
    "warnings": "Warnings",
    "runs": "Runs",
    "plugins": "Plugins",
    "new": "New run",
    "review": "New run, the last page",
    "text": "Log and texts",
}

ACTIONS = (
    Action("everywhere", "new_run", "n", "New", "Compose a new run", 1),
    Action("everywhere", "runs", "r", "Runs", "All runs of this store: open, cancel, resume, delete", 70),
    Action("everywhere", "plugins", "p", "Plugins", "What is installed, and whether it is healthy", 80),
    Action("everywhere", "help", "question_mark", "Help", "This page", 90),
    Action("everywhere", "palette", "ctrl+p", "Palette", "All of this by typing its name"),
    Action("everywhere", "theme", "t", "Theme", "Dark, light, or the terminal's own sixteen colours"),
    Action("everywhere", "back", "escape", "Back", "Close this page", 85),
    Action("everywhere", "suspend_process", "ctrl+z", "Suspend", "Back to the shell; fg returns"),
    Action("everywhere", "quit", "q", "Quit", "Leave the app; a run that is under way goes on", 99),
    Action("compare", "detail", "enter", "Detail", "Open the estimate under the cursor", 3, "enter"),
    Action("compare", "warnings", "w", "Warnings", "All warnings of this run by their code", 2),
    Action("compare", "cancel", "x", "Cancel", "Cancel the run (asks first)", 4),
    Action("compare", "pause", "space", "Pause", "Pause the run, or go on with it; resume a lost one"),
    Action("compare", "export", "e", "Export", "Write the run as JSON, CSV, Markdown or HTML", 5),
    Action("compare", "again", "a", "Again", "A new run like this one, with changes", 6),
    Action("compare", "pivot", "v", "View", "Estimators as columns, or one row an estimate"),
    Action("compare", "inputs", "i", "Inputs", "Single inputs, or all of them in one row"),
    Action("compare", "sort", "s", "Sort", "Sort by this column; again turns it, then undoes it"),
    Action("compare", "sort_verdict", "S", "Sort by verdict", "Worst verdict first; again undoes it"),
    Action("compare", "find", "slash", "Filter", "Show only the rows that contain some words", 7),
    Action("compare", "copy", "y", "Copy", "Copy the radius under the cursor"),
    Action("compare", "copy_command", "Y", "Copy command", "Copy the command that starts this run"),
    Action("compare", "log", "l", "Log", "The worker's log"),
    Action(
        "detail", "previous", "left_square_bracket", "Input before", "The same estimate, the input before", 1
    ),
    Action("detail", "next", "right_square_bracket", "Next input", "The same estimate, next input", 2),
    Action("detail", "copy", "y", "Copy radius", "Copy the radius", 3),
    Action("detail", "copy_witness", "Y", "Copy witness", "Copy the adversarial input as JSON", 4),
    Action("detail", "warnings", "w", "Warnings", "All warnings of this run by their code", 5),
    Action(
        "detail",
        "turn(1)",
        "right,tab",
        "Next panel",
        "The next panel, where they are shown one by one",
        6,
        "tab",
    ),
    Action("detail", "turn(-1)", "left,shift+tab", "Panel before", "The panel before", 0),
    *(
        Action("detail", f"show_panel({n})", str(n), name, f"Panel {n}: {name.lower()}")
        for n, name in enumerate(("Warnings", "Scales", "Fit", "Score", "Pictures", "Facts"), start=1)
    ),
    Action("warnings", "open", "enter", "Detail", "Open the estimate of this warning", 1, "enter"),
    Action("warnings", "find", "slash", "Filter", "Show only the warnings that contain some words", 2),
    Action("warnings", "copy", "y", "Copy replay", "Copy the command that replays this refutation", 3),
    Action("runs", "open", "enter", "Open", "Watch this run in the table", 1, "enter"),
    Action("runs", "cancel", "x", "Cancel", "Cancel this run (asks first)", 2),
    Action("runs", "pause", "space", "Pause/go on", "Pause, go on, resume a lost run, retry failures", 3),
    Action("runs", "again", "a", "Again", "A new run like this one, with changes", 4),
    Action("runs", "export", "e", "Export", "Write the run as JSON, CSV, Markdown or HTML", 5),
    Action("runs", "delete", "d", "Delete", "Delete this run and all its results (asks first)", 6),
    Action("runs", "log", "l", "Log", "The worker's log", 7),
    Action("runs", "find", "slash", "Filter", "Show only the runs that contain some words"),
    Action("runs", "copy", "y", "Copy id", "Copy this run's id"),
    Action("plugins", "find", "slash", "Filter", "Show only the plugins that contain some words", 1),
    Action("plugins", "refresh", "u", "Look again", "Describe all plugins anew", 2),
    Action("plugins", "copy", "y", "Copy name", "Copy the name that always works", 3),
    Action("new", "review", "ctrl+r", "Review and start", "Units, cost and the command, then start", 1, "^r"),
    Action("new", "load", "ctrl+o", "Load", "Read a study file", 3, "^o"),
    Action("new", "save", "ctrl+t", "Save", "Write a study file", 4, "^t"),
    Action("review", "start", "enter", "Start", "Start the run; it goes on when you leave", 1, "enter"),
    Action("review", "copy_command", "y", "Copy command", "Copy the command that does the same", 2),
    Action("text", "copy", "y", "Copy", "Copy all of this text", 1),
)


def of(where: str) -> tuple[Action, ...]:
    return tuple(action for action in ACTIONS if action.where == where)


def bindings(where: str) -> list[BindingType]:
    """The bindings of a screen, or of the app."""
    return [
        Binding(a.keys, a.name, a.label, show=a.bar > 0, key_display=a.key, tooltip=a.help, id=a.id)
        for a in of(where)
    ]


def bar(where: str) -> list[Action]:
    """What the bar below shows on a screen, in order."""
    shown = [a for a in ACTIONS if a.bar and a.where in ("everywhere", where)]
    if where in ("compare", "first"):
        shown = [a for a in shown if a.name != "back"]
    elif where not in ("runs", "plugins"):
        # Pages that stand on another one: the way back matters more than the way elsewhere.
        shown = [a for a in shown if a.name not in ("new_run", "runs", "plugins")]
    return sorted(shown, key=lambda action: action.bar)
