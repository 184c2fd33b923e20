# Confuses a reader: HTML, control characters, terminal codes and formulas in what a page will show.
# %% html
def gemm_flops(m, n, k):
    raise ValueError("<script>alert(1)</script><img src=x onerror=alert(1)>")
# %% control characters
def gemm_flops(m, n, k):
    print("\x1b[2J\x1b]0;title\x07\x00\u202e")
    return "=HYPERLINK(\"http://evil\")"
# %% half a character
def gemm_flops(m, n, k):
    return "\ud800"
# %% an exception that cannot be printed
class Odd(Exception):
    def __str__(self): raise RuntimeError
def gemm_flops(m, n, k):
    raise Odd
# %% a very long exception
def gemm_flops(m, n, k):
    raise ValueError("x" * 50_000_000)
