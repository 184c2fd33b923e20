"""Other machines, played: an ONNX Runtime that has more compiled in than starts here, and sessions that are counted.

The rules are those of onnxruntime 1.31. A provider that is not compiled in is warned of and left out; one that is and
cannot start (no device, no driver) is left out with a line on standard error; the CPU is always added at the end.
"""

import warnings
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from labkit.course.on_first_use import ort

CPU = "CPUExecutionProvider"


@contextmanager
def played_machine(compiled: Sequence[str], starts: Sequence[str]) -> Iterator[list[str]]:
    """Within it `onnxruntime` behaves as on that machine; gives what it would have warned of."""
    said: list[str] = []

    def start(self: Any, path: Any, sess_options: Any = None, providers: Any = None, *_: Any, **__: Any) -> None:
        names = [each[0] if isinstance(each, tuple) else each for each in (providers or compiled)]
        said.extend(f"provider {name} is not in this build" for name in names if name not in compiled)
        said.extend(f"duplicate provider {name}" for at, name in enumerate(names) if name in names[:at])
        running = [name for name in dict.fromkeys(names) if name in compiled and name in starts]
        self.played_path, self.played = path, [*running, *([] if CPU in running else [CPU])]

    with _patched(start, lambda self: list(self.played), lambda: list(compiled)):
        yield said


@contextmanager
def _patched(start: Any, providers: Any, available: Any) -> Iterator[None]:
    import onnxruntime  # the module itself: what is set on its stand-in would not reach an answer

    session: Any = onnxruntime.InferenceSession
    kept = {name: session.__dict__.get(name) for name in ("__init__", "get_providers")}
    was_available = onnxruntime.get_available_providers
    session.__init__, session.get_providers = start, providers
    onnxruntime.get_available_providers = available
    try:
        yield
    finally:
        onnxruntime.get_available_providers = was_available
        for name, method in kept.items():
            if method is None:
                delattr(session, name)
            else:
                setattr(session, name, method)


@contextmanager
def counted_sessions() -> Iterator[list[Any]]:
    """Within it every session that is made leaves a weak reference; one that is gone is None."""
    session, made = ort.InferenceSession, list[Any]()
    original = session.__init__

    def start(self: Any, *args: Any, **kwargs: Any) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            original(self, *args, **kwargs)
        made.append(weakref.ref(self))

    session.__init__ = start
    try:
        yield made
    finally:
        session.__init__ = original
