"""`labkit check LAB EXERCISE FILE.py`: the lab's check, for people who work in an editor."""

import json
import sys
from pathlib import Path

import click

from labkit.course.apart import AnswerFile
from labkit.course.exercise import Verdict
from labkit.course.exercises import exercise


@click.command()
@click.argument("lab")
@click.argument("name", metavar="EXERCISE")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--seed", default=0, show_default=True, help="Another seed, other cases.")
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
def check(lab: str, name: str, file: Path, seed: int, as_json: bool) -> None:
    """Check the answer to EXERCISE of LAB that stands in FILE; exit code 0 when it is right, else 1."""
    try:
        chosen = exercise(lab, name)
    except KeyError as error:
        raise click.UsageError(str(error.args[0])) from error
    verdict = chosen.judge(AnswerFile(file, name), seed=seed, tier=chosen.tier)
    print(json.dumps(_as_data(lab, verdict), indent=2, ensure_ascii=False) if as_json else verdict)
    sys.exit(0 if verdict.passed else 1)


def _as_data(lab: str, verdict: Verdict) -> dict[str, object]:
    findings = [
        {"case": each.case.name, "misconception": each.misconception, "message": each.message}
        for each in verdict.findings
    ]
    return {
        "lab": lab,
        "exercise": verdict.exercise,
        "passed": verdict.passed,
        "seed": verdict.seed,
        "num_cases": verdict.num_cases,
        "findings": findings,
    }
