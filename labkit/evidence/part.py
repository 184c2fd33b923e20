"""One part in a process of its own: `python -m labkit.evidence.part NAME DEVICE ANSWER.json`.

A kernel that hangs or a device that gives up then costs its own part and no other, and the interpreter of Triton, which
is chosen when Triton is imported, can be chosen here.
"""

import json
import os
import sys
from importlib import import_module
from pathlib import Path
from time import perf_counter


def main(name: str, device: str, answer: Path) -> None:
    """Writes the part's result, or the reason why there is none."""
    if device == "cpu":
        os.environ["TRITON_INTERPRET"] = "1"
    from dataclasses import replace

    from labkit.evidence.place import Place
    from labkit.evidence.record import PartResult

    started = perf_counter()
    try:
        result: PartResult = import_module(f"labkit.evidence.{name}").run(Place(device))
    except Exception as error:
        result = PartResult(error=f"{type(error).__name__}: {error}")
    result = replace(result, seconds=round(perf_counter() - started, 1))
    answer.write_text(json.dumps(result.as_data()), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
