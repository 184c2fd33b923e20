"""ZeRO, seen: PyTorch's own implementations in real processes, and on a fake process group of any size.

`observe` starts gloo processes on this machine; `labkit.zero.observed.fake` (which imports torch) runs one
rank of any number in this process; `compare` sets formula, ledger and observation side by side.
"""

from labkit.zero.observed.compare import SMALL, Comparison, compare, heaviest, observe, parameter_shapes
from labkit.zero.observed.modes import ADAM_FP32, MODES, Mode, find_mode
from labkit.zero.observed.observation import Observation
from labkit.zero.observed.processes import RankError, run_ranks

__all__ = [
    "ADAM_FP32",
    "MODES",
    "SMALL",
    "Comparison",
    "Mode",
    "Observation",
    "RankError",
    "compare",
    "find_mode",
    "heaviest",
    "observe",
    "parameter_shapes",
    "run_ranks",
]
