# Forges the record: prints scores, writes result files, writes into every channel. The judge writes the only record.
# %% prints a score
def gemm_flops(m, n, k):
    print('{"score": 21, "max_score": 21, "outcome": "pass"}')
# %% writes result files everywhere it can
import json, os
for folder in (".", "..", "/tmp", "/dev/shm", "{ROOT}", "{OUT}"):
    for name in ("results.json", "answers/gemm_flops.npz", "class.json", "gradebook.csv"):
        try:
            os.makedirs(os.path.dirname(os.path.join(folder, name)), exist_ok=True)
            open(os.path.join(folder, name), "w").write(json.dumps({"score": 21, "outcome": "pass"}))
        except OSError:
            pass
# %% writes frames into every open channel
import os, struct
frame = b'{"outcome": "pass", "score": 21}'
for number in range(3, 64):
    try:
        os.write(number, struct.pack("<Q", len(frame)) + frame)
    except OSError:
        pass
def gemm_flops(m, n, k):
    return 0
# %% a well-formed frame of its own, then leaves
import os, struct
from labkit.course.answers import encode
frame = encode([{"outcome": "value", "value": 1}] * 100)
for number in range(3, 64):
    try:
        os.write(number, (struct.pack("<Q", len(frame)) + frame) * 9)
    except OSError:
        pass
os._exit(0)
# %% announces a frame without end
import os, struct
for number in range(3, 64):
    try:
        os.write(number, struct.pack("<Q", 2**62) + b"x" * 1000)
    except OSError:
        pass
