"""How far a class is: a bar on a terminal, a line now and then anywhere else; always on stderr."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from labkit.grading.handed_in import HandedIn
    from labkit.grading.result import Result

NUM_LINES = 20  # of a run whose output goes into a file or a pipe


@contextmanager
def progress(total: int, isolation: str) -> Iterator[Callable[[Result], None]]:
    """A function that is told each result; the running counts of outcomes stand beside the number."""
    from rich.console import Console

    console = Console(stderr=True)
    if isolation.startswith("not isolated"):
        console.print(f"[bold]{isolation}[/bold]: fine for work of your own, not for grades of strangers")
    with _bar(console, total, isolation) if console.is_terminal else _lines(total, isolation) as seen:
        yield seen


@contextmanager
def _bar(console: Console, total: int, isolation: str) -> Iterator[Callable[[Result], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    counts: Counter[str] = Counter()
    columns = (
        TextColumn("grading"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console, transient=total < 2) as bar:
        task = bar.add_task(f"isolation: {isolation}", total=total)

        def seen(result: Result) -> None:
            counts[result.outcome] += 1
            bar.update(task, advance=1, description=_in_words(counts))

        yield seen


@contextmanager
def _lines(total: int, isolation: str) -> Iterator[Callable[[Result], None]]:
    """Whole lines, as no width is known: at the start, about every twentieth of the class, and at the end."""
    counts: Counter[str] = Counter()
    click.echo(f"grading {total}; isolation: {isolation}", err=True)

    def seen(result: Result) -> None:
        counts[result.outcome] += 1
        done = counts.total()
        if done == total or done % max(1, total // NUM_LINES) == 0:
            click.echo(f"graded {done} of {total}: {_in_words(counts)}", err=True)

    yield seen


def _in_words(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())


def tell_passed_over(handed_in: HandedIn, lab: str) -> None:
    """Nobody's work is passed over in silence."""
    for each in handed_in.passed_over:
        click.echo(f"passed over: {each}", err=True)
    if handed_in.is_doubtful:
        click.echo(
            f"{handed_in.num_folders_passed_over} folders have no {lab}.ipynb, and {len(handed_in.submissions)} of"
            " the rest can be graded: is it the right --lab?",
            err=True,
        )
