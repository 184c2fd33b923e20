"""One rank: `python -m labkit.zero.observed.rank MODULE:FUNCTION FOLDER RANK WORLD_SIZE TIMEOUT`.

Joins a gloo process group through a file in FOLDER, calls the function with its rank, the world size and
the options in FOLDER/options.json, and writes what it returns to FOLDER/RANK.json. A rank that hangs ends
itself, with a traceback of where, even when nobody is left to end it. The function may call `tell`.
"""

import faulthandler
import json
import os
import signal
import sys
from datetime import timedelta
from importlib import import_module
from pathlib import Path

FOLDER = "LABKIT_RANK_FOLDER"


def tell(rank: int, share: float) -> None:
    """Says to whoever started the ranks how much of the work is done, from 0 to 1; nothing where nobody did."""
    if FOLDER in os.environ:
        folder = Path(os.environ[FOLDER])
        written = folder / f"{rank}.told.part"
        written.write_text(f"{share:.3f}")
        written.replace(folder / f"{rank}.told")


def main(worker: str, folder: Path, rank: int, world_size: int, timeout_s: float) -> None:
    faulthandler.dump_traceback_later(timeout_s, exit=True)
    if hasattr(faulthandler, "register"):  # where it is missing, a hung rank is ended without saying where
        faulthandler.register(signal.SIGUSR1, all_threads=False)
    os.environ[FOLDER] = str(folder)
    module, _, function = worker.partition(":")
    call = getattr(import_module(module), function)
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    options = json.loads((folder / "options.json").read_text())
    store = dist.FileStore(str(folder / "store"), world_size)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world_size, timeout=timedelta(seconds=timeout_s))
    result = call(rank, world_size, **options)
    written = folder / f"{rank}.json.part"
    written.write_text(json.dumps(result))
    written.replace(folder / f"{rank}.json")  # whole or not at all
    dist.barrier()  # nobody leaves while a neighbour still needs its sockets
    sys.stdout.flush()
    os._exit(0)  # the answer is on disk: skip the teardown of groups and threads


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
