# Never ends: loops, swallows interrupts, waits for input. A clock stands outside, and the whole space is ended.
# %% loops
def gemm_flops(m, n, k):
    while True:
        pass
# %% a cell that loops and swallows whatever is raised into it
while True:
    try:
        while True:
            pass
    except BaseException:
        pass
# %% waits for input, then sleeps
import time
def gemm_flops(m, n, k):
    try:
        input()
    except EOFError:
        time.sleep(1000)
# %% blocks every signal
import signal, time
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))
while True:
    time.sleep(1)
