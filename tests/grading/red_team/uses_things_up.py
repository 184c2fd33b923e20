# Uses things up: memory, processes, threads, files, disk, output.
# %% memory, at once
import numpy as np
def gemm_flops(m, n, k):
    np.ones(2**36)
# %% memory, in several processes
import os, time
def gemm_flops(m, n, k):
    for _ in range(20):
        if os.fork() == 0:
            held = bytearray(200 * 2**20)
            time.sleep(60)
    time.sleep(60)
# %% threads
import threading, time
def gemm_flops(m, n, k):
    while True:
        threading.Thread(target=time.sleep, args=(100,), daemon=True).start()
# %% open files
def gemm_flops(m, n, k):
    held = []
    while True:
        held.append(open("/dev/null"))
# %% the disk
def gemm_flops(m, n, k):
    for number in range(1000):
        with open(f"/tmp/{number}", "wb") as file:
            file.write(b"x" * 2**25)
# %% shared memory
def gemm_flops(m, n, k):
    for number in range(1000):
        with open(f"/dev/shm/{number}", "wb") as file:
            file.write(b"x" * 2**24)
# %% output
def gemm_flops(m, n, k):
    for _ in range(3000):
        print("x" * 10_000)
    return 0
# %% an answer that is too large
import numpy as np
def gemm_flops(m, n, k):
    return np.zeros(2**25)
# %% an answer that unpacks to much
def gemm_flops(m, n, k):
    return ["x" * 10_000_000] * 30
