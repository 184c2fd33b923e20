"""Numbers on the command line: read exactly, refused in one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from labkit.quantities import QuantityError, parse_whole_number


class OneSentence(click.ClickException):
    """Bad input: exit code 2 as click's own, and no usage lines in front of the sentence."""

    exit_code = 2


class WholeNumber(click.ParamType):
    """A whole number of at least `at_least`; 7.5e9 is one."""

    name = "number"

    def __init__(self, at_least: int = 1) -> None:
        self.at_least = at_least

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        option = param.opts[0] if param else "value"
        with one_sentence():
            return parse_whole_number(str(value), option, self.at_least)


@contextmanager
def one_sentence() -> Iterator[None]:
    """What the calculators refuse becomes an error of the command."""
    try:
        yield
    except QuantityError as error:
        raise OneSentence(str(error)) from error
