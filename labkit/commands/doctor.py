"""`labkit doctor`: is this installation as it should be, and if not, which command mends it?"""

import json
import sys

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON and nothing else.")
def doctor(as_json: bool) -> None:
    """Run a reference check and look for the known traps; exit code 1 when something that a learner meets is broken."""
    from labkit.doctor import examine, gather

    report = examine(gather())
    print(json.dumps(report.as_data(), indent=2, ensure_ascii=False) if as_json else report)
    sys.exit(0 if report.healthy else 1)
