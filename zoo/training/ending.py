"""What a run says and draws at its end."""

from collections.abc import Callable
from pathlib import Path

from zoo.system.text import counted, error_text
from zoo.training.events import Log, log_whole, open_log
from zoo.training.history import History
from zoo.training.terminal import Terminal, result_text


def tell(history: History, workdir: Path, terminal: Terminal) -> None:
    """Says what a run that is complete has written and come to."""
    checkpoints = " and checkpoints" if history.config["checkpoint"]["every_epochs"] else ""
    terminal.say(f"wrote history.json, history.png{checkpoints} to {workdir}")
    terminal.result(result_text(history))


def say_complete(history: History, workdir: Path, terminal: Terminal, log: Log | None) -> None:
    """Says that a run was complete before, and gives its numbers to the log."""
    with open_log(workdir, log, history.config["tensorboard"]) as write:
        log_whole(history, write)
    if not (workdir / "history.png").exists():  # killed just before its end
        draw(history, workdir, terminal)
    terminal.say(f"{workdir} is complete ({counted(len(history.epochs), 'epoch')}): nothing to do")
    terminal.result(result_text(history))


def draw(history: History, workdir: Path, terminal: Terminal) -> None:
    """Draws history.png; where that fails, the run is as good without it."""

    def save() -> None:
        from zoo.training.curves import save_run  # only now: matplotlib takes half a second

        save_run(history, workdir)

    try_to_draw("history.png", save, terminal)


def try_to_draw(name: str, save: Callable[[], None], terminal: Terminal) -> bool:
    """Whether a picture was drawn and saved; where that fails, a note says why."""
    try:
        save()
    except Exception as error:
        terminal.note(f"{name} could not be drawn ({error_text(error):.200})")
        return False
    return True
