# Leaves early: exits, kills itself, kills its parent. Absence is failure, and the other answers are run without it.
# %% exits in the function
def gemm_flops(m, n, k):
    import sys
    sys.exit(0)
# %% exits in the cell
import os
os._exit(0)
# %% kills itself
import os, signal
os.kill(os.getpid(), signal.SIGKILL)
# %% kills everything that it sees
import os, signal
def gemm_flops(m, n, k):
    for pid in range(2, 400):
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
    os.kill(-1, signal.SIGKILL)
# %% crashes the interpreter
import ctypes
def gemm_flops(m, n, k):
    ctypes.string_at(0)
# %% a cell that crashes the interpreter
import ctypes
ctypes.string_at(0)
