"""What a builder says while it works: TensorRT answers None, and the reason is only here."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from labkit.tensorrt.errors import readable, readable_reasons, serious_warnings


class BuildLog:
    """The errors of one build, from both ways that TensorRT has.

    `logger` (a trt.ILogger) gets everything, but only the first one in a process: while another builder or runtime
    is alive, TensorRT goes on writing to that one's. The recorder (a trt.IErrorRecorder) belongs to one builder.
    """

    def __init__(self, trt: Any) -> None:
        self.lines: list[str] = []
        self.warning_lines: list[str] = []
        self.logger = _logger_class(trt)(self.lines, self.warning_lines)
        self._recorder = _recorder_class(trt)(self.lines)

    @contextmanager
    def attached_to(self, builder: Any) -> Iterator[None]:
        """Records the builder's errors, after parsing and for no longer than this.

        With a recorder on while the parser works, TensorRT-RTX 1.7.1 crashes when parser and network are freed; and
        it keeps a bare pointer to the recorder, which would outlive it.
        """
        builder.error_recorder = self._recorder
        try:
            yield
        finally:
            builder.error_recorder = None

    def reasons(self) -> tuple[str, ...]:
        """The errors so far as sentences; never empty."""
        return readable_reasons(self.lines) or ("TensorRT gave no reason.",)

    def warnings(self) -> tuple[str, ...]:
        """What the builder warned of that changes what the plan is good for."""
        return serious_warnings(self.warning_lines)


def parser_reasons(parser: Any) -> tuple[str, ...]:
    """The parser's errors as sentences that name the node and its operator."""
    return tuple(dict.fromkeys(_parser_reason(parser.get_error(index)) for index in range(parser.num_errors)))


def _parser_reason(error: Any) -> str:
    name = repr(error.node_name()) if error.node_name() else f"number {error.node()}"  # counted from 0
    node = f"node {name} ({error.node_operator()})" if error.node_operator() else ""
    text = error.desc()
    # Its words for "I do not know this": a bare `false`, or the search for a plugin of that name.
    if node and (text == "false" or "Plugin not found" in text or "not found in plugin registry" in text):
        return f"TensorRT has no importer for operator {error.node_operator()}, which {node} uses."
    telling = [line for line in text.splitlines() if not line.startswith("Invalid Node")]
    reasons = readable_reasons(telling or [text])
    return readable(f"{node}: {' '.join(reasons)}" if node else " ".join(reasons))


@cache
def _logger_class(trt: Any) -> Any:
    class Logger(trt.ILogger):
        def __init__(self, lines: list[str], warning_lines: list[str]) -> None:
            trt.ILogger.__init__(self)
            self.lines, self.warning_lines = lines, warning_lines

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.lines.append(message)
            elif severity == trt.ILogger.WARNING:
                self.warning_lines.append(message)

    return Logger


@cache
def _recorder_class(trt: Any) -> Any:
    class Recorder(trt.IErrorRecorder):
        def __init__(self, lines: list[str]) -> None:
            trt.IErrorRecorder.__init__(self)
            self.lines = lines
            self.errors: list[tuple[Any, str]] = []

        def report_error(self, code: Any, description: str) -> bool:
            self.errors.append((code, description))
            self.lines.append(description)
            return False

        def num_errors(self) -> int:
            return len(self.errors)

        def get_error_code(self, index: int) -> Any:
            return self.errors[index][0]

        def get_error_desc(self, index: int) -> str:
            return self.errors[index][1]

        def has_overflowed(self) -> bool:
            return False

        def clear(self) -> None:
            self.errors.clear()

    return Recorder
