# Knows the cases: stores answers for known inputs, answers once right and later wrong. Fresh seeds, several cases.
# %% answers of lab.check's own cases
KNOWN = {KNOWN}
def gemm_flops(m, n, k):
    return KNOWN.get((m, n, k), 0)
# %% right once
COUNT = []
def gemm_flops(m, n, k):
    COUNT.append(1)
    return 2 * m * n * k if len(COUNT) == 1 else 0
# %% right only when nobody looks
import sys
def gemm_flops(m, n, k):
    return 2 * m * n * k if "pytest" in sys.modules or "labkit.grading.marking" in sys.modules else 0
