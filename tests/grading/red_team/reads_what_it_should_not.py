# Reads what it should not: each answers rightly if it finds what it looks for, so its score says whether it did.
# %% the solutions
def gemm_flops(m, n, k):
    open("{ROOT}/solutions/01_gemm_im2col.py").read()
    return 2 * m * n * k
# %% the tests
import os
def gemm_flops(m, n, k):
    os.listdir("{ROOT}/tests")
    return 2 * m * n * k
# %% the grader's own implementation
def gemm_flops(m, n, k):
    from labkit.gemm import gemm_flops
    return gemm_flops(m, n, k)
# %% its source
import glob, sys
def gemm_flops(m, n, k):
    for path in (*glob.glob("{ROOT}/labkit/**/*.py", recursive=True), *glob.glob("{ROOT}/labkit/gemm*")):
        return 2 * m * n * k
# %% the bank of right answers
def gemm_flops(m, n, k):
    from labkit.course import exercise
    return exercise("01_gemm_im2col", "gemm_flops").right_answers[0].candidate(m, n, k)
# %% the bank, in memory
import gc, types
def gemm_flops(m, n, k):
    for thing in gc.get_objects():
        if isinstance(thing, types.FunctionType) and "exercises.gemm_im2col.gemm_flops" in str(thing.__module__):
            return 2 * m * n * k
# %% the oracle
def gemm_flops(m, n, k):
    from labkit.course import exercise
    exercise("01_gemm_im2col", "gemm_flops").make_cases(7)
    return 2 * m * n * k
# %% a file of the grader's
def gemm_flops(m, n, k):
    open("{SECRET}").read()
    return 2 * m * n * k
# %% the grader's environment
import os
def gemm_flops(m, n, k):
    found = dict(os.environ)
    for pid in os.listdir("/proc"):
        try:
            found[pid] = open(f"/proc/{pid}/environ").read() if pid.isdigit() else ""
        except OSError:
            pass
    if "{TOKEN}" in str(found):
        return 2 * m * n * k
# %% other processes
import os
def gemm_flops(m, n, k):
    own = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for what in ("mem", "fd", "cwd", "root", "maps"):
            try:
                path = f"/proc/{pid}/{what}"
                os.listdir(path) if what == "fd" else open(path, "rb").close()
                own.add(open(f"/proc/{pid}/stat").read().split()[1])
            except OSError:
                pass
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            parent = os.readlink(f"/proc/{pid}/ns/pid") != os.readlink("/proc/self/ns/pid")
        except OSError:
            continue
        if parent:
            return 2 * m * n * k
# %% passwords
def gemm_flops(m, n, k):
    open("/etc/passwd").read()
    return 2 * m * n * k
