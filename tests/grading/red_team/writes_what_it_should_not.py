# Writes what it should not: each answers rightly if it could.
# %% outside of its folder
def gemm_flops(m, n, k):
    open("{CANARY}", "w").write("changed")
    return 2 * m * n * k
# %% into the course package
import os
def gemm_flops(m, n, k):
    for path in ("{ROOT}/labkit/gemm.py", "{ROOT}/labkit/course/compare.py", "{ROOT}/labkit/evil.py"):
        try:
            open(path, "a").close()
            os.utime(path)
        except OSError:
            continue
        if not os.path.exists("{ROOT}/labs"):
            continue
        return 2 * m * n * k
# %% the released lab
def gemm_flops(m, n, k):
    open("{ROOT}/labs/01_gemm_im2col.ipynb", "a").close()
    return 2 * m * n * k
# %% Python itself
import os, sys
def gemm_flops(m, n, k):
    import numpy
    open(os.path.join(os.path.dirname(numpy.__file__), "evil.py"), "w").close()
    return 2 * m * n * k
# %% the machine
def gemm_flops(m, n, k):
    for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/vm/drop_caches", "/proc/sysrq-trigger", "/x", "/etc/x"):
        try:
            open(path, "r+" if path.startswith("/proc") else "w").close()
        except OSError:
            continue
        return 2 * m * n * k
# %% the machine, as root of a user space of its own
import ctypes, os
def gemm_flops(m, n, k):
    uid = os.getuid()
    if ctypes.CDLL(None).unshare(0x10000000 | 0x00020000) == 0:
        open("/proc/self/setgroups", "w").write("deny")
        open("/proc/self/uid_map", "w").write(f"0 {uid} 1")
        libc = ctypes.CDLL(None)
        libc.umount2(b"{ROOT}/labkit", 2)
        libc.mount(None, b"/", None, 32, None)
    if os.path.exists("{ROOT}/labkit/gemm") or os.access("/usr", os.W_OK):
        return 2 * m * n * k
