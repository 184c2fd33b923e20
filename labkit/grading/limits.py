"""What a submission may use: one table, applied inside by the kernel's limits and watched from outside.

Limits of a process (address space, CPU, file size) bind each process; the watch of `tree.py` adds up the whole tree.
"""

import contextlib
from dataclasses import asdict, dataclass

from labkit.course.apart import LIMIT_S

MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """Of one run of one submission."""

    wall_s: float = 120.0
    cell_s: float = 20.0  # one cell of the notebook
    exercise_s: float = 10.0  # all cases of a usual exercise; shorter than the whole run, so that it explains
    memory_bytes: int = 4096 * MIB  # resident, whole tree; CPU torch needs under 1 GiB
    num_processes: int = 64  # whole tree, threads not counted
    file_bytes: int = 64 * MIB  # one file
    disk_bytes: int = 256 * MIB  # everything in the private /tmp
    answer_bytes: int = 66 * MIB  # one exercise's answers

    @property
    def cpu_s(self) -> float:
        """CPU time of the whole tree: as much as one core gives in the wall time."""
        return self.wall_s

    def of_exercise_s(self, declared_s: float) -> float:
        """Seconds for all cases of an exercise: in proportion to what it declares, since an export takes its time."""
        return self.exercise_s * declared_s / LIMIT_S

    def as_data(self) -> dict[str, float]:
        """For JSON, and `Limits(**data)` on the other side."""
        return asdict(self)


def limit_this_process(limits: Limits) -> None:
    """Bind this process and all that it starts; a limit that the system does not know is left out."""
    import resource

    for kind, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, 2 * limits.memory_bytes),  # address space: libraries reserve more than they use
        (resource.RLIMIT_CPU, int(limits.cpu_s) + 1),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        # Threads count here. Root is exempt, and so is a name space that root made: tree.py counts as well.
        (resource.RLIMIT_NPROC, limits.num_processes + 32),
        (resource.RLIMIT_NOFILE, 1024),
    ):
        _, hard = resource.getrlimit(kind)
        wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (wanted, wanted))
