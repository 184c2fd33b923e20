"""`labkit verify`: are the committed solutions what they say, run headlessly from the top?"""

import click

from labkit.course.exercises import all_labs, lab_spec


@click.command()
@click.argument("labs", nargs=-1)
def verify(labs: tuple[str, ...]) -> None:
    """Run papermill (two parameter sets), nbval and the rules on the solutions of LABS (all by default)."""
    from labkit.course.verify import VerificationFailed, verify_lab

    try:
        specs = [lab_spec(lab) for lab in labs] or list(all_labs())
        for spec in specs:
            print(f"✓ {verify_lab(spec)}", flush=True)
    except KeyError as error:
        raise click.UsageError(str(error.args[0])) from error
    except VerificationFailed as error:
        raise click.ClickException(str(error)) from error
