# Answers that are code: pickles, functions, dotted names, things to evaluate. Nothing is unpickled or evaluated.
# %% an object with its own way to be pickled
class Code:
    def __reduce__(self): return (eval, ("2",))
def gemm_flops(m, n, k):
    return Code()
# %% a function
def gemm_flops(m, n, k):
    return lambda *args: 2 * m * n * k
# %% an array of objects
import numpy as np
class Code:
    def __reduce__(self): return (eval, ("2",))
def gemm_flops(m, n, k):
    return np.array([Code()], dtype=object)
# %% an expression
def gemm_flops(m, n, k):
    return f"2 * {m} * {n} * {k}"
# %% very deep
def gemm_flops(m, n, k):
    deep = []
    for _ in range(100_000):
        deep = [deep]
    return deep
# %% a very long integer
def gemm_flops(m, n, k):
    return 10 ** 100_000
