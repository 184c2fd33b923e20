# Answers that agree with everything: their own ==, array subclasses, NaN. Only plain data crosses.
# %% equal to everything
class Yes(int):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __sub__(self, other): return 0
    def __hash__(self): return 0
def gemm_flops(m, n, k):
    return Yes(0)
# %% an array that compares itself
import numpy as np
class Yes(np.ndarray):
    def __eq__(self, other): return np.True_
    def __array_ufunc__(self, *args, **kwargs): return np.True_
def gemm_flops(m, n, k):
    return np.zeros(()).view(Yes)
# %% not a number
def gemm_flops(m, n, k):
    return float("nan")
# %% infinity
def gemm_flops(m, n, k):
    return float("inf")
# %% true
def gemm_flops(m, n, k):
    return True
# %% an object that is nothing
from unittest.mock import MagicMock
def gemm_flops(m, n, k):
    return MagicMock()
