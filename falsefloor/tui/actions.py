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
    "codes": "Codes: what every warning means",
    "changes": "Two runs compared",
    "text": "Log and texts",
}

ACTIONS = (
    Action("everywhere", "new_run", "n", "New", "Compose a new run", 1),
    Action("everywhere", "runs", "r", "Runs", "All runs of this store: open, cancel, resume, delete", 70),
    Action("everywhere", "plugins", "p", "Plugins", "What is installed, and whether it is healthy", 80),
    Action("everywhere", "codes", "F", "Codes", "Every warning code: what it means and what to do", 81),
    Action("everywhere", "help", "question_mark", "Help", "This page", 90),
    Action("everywhere", "command_palette", "ctrl+p", "Palette", "All of this by typing its name"),
    Action(
        "everywhere", "diagnose_model", "M", "Diagnose a model", "Does a model of yours hide its gradient?"
    ),
    Action("everywhere", "tour", "G", "Tour", "Six steps through the table: what its numbers mean"),
    Action("everywhere", "theme", "t", "Theme", "Dark, light, or the terminal's own sixteen colours"),
    Action("everywhere", "back", "escape", "Back", "Close this page, or what was narrowed on it", 85),
    Action("everywhere", "suspend_process", "ctrl+z", "Suspend", "Back to the shell; fg returns"),
    Action("everywhere", "quit", "q", "Quit", "Leave the app; a run that is under way goes on", 99),
    Action("compare", "detail", "enter", "Detail", "Open the estimate under the cursor", 3, "enter"),
    Action("compare", "warnings", "w", "Warnings", "All warnings of this run by their code", 2),
    Action("compare", "inputs", "i", "Inputs", "Single inputs of all rows; again or escape comes back", 6),
    Action("compare", "only_inputs", "o", "Only these", "The inputs of this row alone; escape comes back"),
    Action(
        "compare", "find", "slash", "Filter", "Show only some rows: words, verdict:refuted, code:FF102", 5
    ),
    Action("compare", "pause", "space", "Pause", "Pause the run, or go on with it; resume a lost one", 4),
    Action("compare", "cancel", "x", "Cancel", "Cancel the run (asks first)", 7),
    Action("compare", "group", "g", "Group", "Group the rows by model, masker or norm, then not again", 8),
    Action("compare", "export", "e", "Export", "Write the run: JSON, CSV, Markdown, HTML, LaTeX", 9),
    Action("compare", "again", "a", "Again", "A new run like this one, with changes", 10),
    Action(
        "compare", "diagnose", "D", "Diagnose", "Whether a model hides its gradient, where, what to do", 11
    ),
    Action("compare", "pivot", "v", "View", "Estimators as columns, or one row an estimate", 12),
    Action("compare", "sort", "s", "Sort", "Sort by this column; again turns it, then undoes it", 13),
    Action("compare", "sort_verdict", "S", "Sort by verdict", "Worst verdict first; again undoes it"),
    Action("compare", "copy", "y", "Copy", "Copy the radius under the cursor"),
    Action("compare", "copy_command", "Y", "Copy command", "Copy the command that starts this run"),
    Action("compare", "log", "l", "Log", "The worker's log"),
    Action("detail", "previous", "left_square_bracket", "Before", "The same estimate, the input before", 1),
    Action("detail", "next", "right_square_bracket", "Next", "The same estimate, next input", 2),
    Action("detail", "turn(1)", "tab,right", "Panel", "The next panel", 3),
    Action("detail", "turn(-1)", "shift+tab,left", "Panel before", "The panel before"),
    Action("detail", "zoom", "z,enter", "Zoom", "This panel on the whole screen, and back", 4),
    Action("detail", "replay", "R", "Replay", "Evaluate what refutes this again, here and now", 5),
    Action(
        "detail", "readout(1)", "full_stop,greater_than_sign", "Read off", "The next value of a curve", 6, "."
    ),
    Action("detail", "readout(-1)", "comma,less_than_sign", "Value before", "The value before", 0, ","),
    Action("detail", "axis(0)", "l", "Log y", "The upright side of a plot as a logarithm, or not", 7),
    Action("detail", "axis(1)", "L", "Log x", "The flat side of a plot as a logarithm, or not"),
    Action("detail", "copy", "y", "Copy radius", "Copy the radius", 8),
    Action("detail", "copy_witness", "Y", "Copy witness", "Copy the adversarial input as JSON", 9),
    Action("detail", "warnings", "w", "Warnings", "All warnings of this run by their code", 10),
    *(
        Action("detail", f"show_panel({n})", str(n), name, f"Panel {n}: {name.lower()}")
        for n, name in enumerate(("Warnings", "Scales", "Fit", "Score", "Pictures", "Facts"), start=1)
    ),
    Action("warnings", "open", "enter", "Open", "The inputs of this warning, then its estimate", 1, "enter"),
    Action("warnings", "find", "slash", "Filter", "Show only some: words, code:FF102, masker:ramp", 2),
    Action("warnings", "copy", "y", "Copy replay", "Copy the command that replays this refutation", 3),
    Action("warnings", "group", "g", "Group", "Together by code and cell, by code alone, or one by one", 4),
    Action("runs", "open", "enter", "Open", "Watch this run in the table", 1, "enter"),
    Action("runs", "pause", "space", "Pause/go on", "Pause, go on, resume a lost run, retry failures", 2),
    Action("runs", "compare", "c", "Compare", "Compare two runs: here, then on the other one", 3),
    Action("runs", "again", "a", "Again", "A new run like this one, with changes", 4),
    Action("runs", "reuse", "A", "Reuse", "Compute this study anew; what did not change is taken over", 5),
    Action("runs", "delete", "d", "Delete", "Delete this run and all its results when the app closes", 6),
    Action("runs", "undo", "u", "Undo", "Take the last deletion back", 7),
    Action("runs", "tag", "T", "Tag", "Give this run another tag", 8),
    Action("runs", "cancel", "x", "Cancel", "Cancel this run (asks first)", 9),
    Action("runs", "diagnose", "D", "Diagnose", "What this run says of its models' gradients", 10),
    Action("runs", "export", "e", "Export", "Write the run: JSON, CSV, Markdown, HTML, LaTeX", 11),
    Action("runs", "log", "l", "Log", "The worker's log", 12),
    Action("runs", "find", "slash", "Filter", "Show only some runs: words, state:lost, tag:mine", 13),
    Action("runs", "copy", "y", "Copy id", "Copy this run's id"),
    Action("plugins", "find", "slash", "Filter", "Show only some plugins: words, kind:masker", 1),
    Action("plugins", "refresh", "u", "Look again", "Describe all plugins anew", 2),
    Action("plugins", "copy", "y", "Copy name", "Copy the name that always works", 3),
    Action("codes", "find", "slash", "Filter", "Show only some codes: words, severity:refuted", 1),
    Action("codes", "copy", "y", "Copy code", "Copy the code", 2),
    Action("changes", "find", "slash", "Filter", "Show only some cells: words, change:verdict", 1),
    Action("changes", "copy", "y", "Copy command", "Copy the command that compares these runs", 2),
    Action("new", "review", "ctrl+r", "Review and start", "Units, cost and the command, then start", 1, "^r"),
    Action("new", "pick", "ctrl+f", "Pick", "Choose what this field takes: files, models, inputs", 2, "^f"),
    Action("new", "recent", "ctrl+g", "Recent", "Begin with the study of an earlier run", 3, "^g"),
    Action("new", "load", "ctrl+o", "Load", "Read a study file", 4, "^o"),
    Action("new", "save", "ctrl+t", "Save", "Write a study file", 5, "^t"),
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
    """What the bar below may show on a screen, in order."""
    shown = [a for a in ACTIONS if a.bar and a.where in ("everywhere", where)]
    if where not in ("compare", "first", "runs", "plugins"):
        # Pages that stand on another one: the way back matters more than the way elsewhere.
        shown = [a for a in shown if a.name not in ("new_run", "runs", "plugins", "codes")]
    return sorted(shown, key=lambda action: action.bar)
