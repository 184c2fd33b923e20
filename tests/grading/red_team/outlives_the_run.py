# Outlives the run: detached children, a session of their own, threads that end late.
# %% a detached child
import subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300) # {TOKEN}"], start_new_session=True)
def gemm_flops(m, n, k):
    return 0
# %% a daemon, twice forked, that holds on to its channels
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(300) # {TOKEN}"])
    os._exit(0)
def gemm_flops(m, n, k):
    return 0
# %% a child of the answer
import os, sys
def gemm_flops(m, n, k):
    if os.fork() == 0:
        os.setsid()
        os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(300) # {TOKEN}"])
    return 0
# %% at the end
import atexit, threading, time
atexit.register(time.sleep, 100)
threading.Thread(target=time.sleep, args=(100,)).start()
def gemm_flops(m, n, k):
    return 0
