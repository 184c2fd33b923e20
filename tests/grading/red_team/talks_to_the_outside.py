# Talks to the outside: each answers rightly if somebody was reached.
# %% this machine
import socket
def gemm_flops(m, n, k):
    socket.create_connection(("127.0.0.1", {PORT}), 2).close()
    return 2 * m * n * k
# %% a socket without a path
import socket
def gemm_flops(m, n, k):
    s = socket.socket(socket.AF_UNIX)
    s.connect("\0{TOKEN}")
    return 2 * m * n * k
# %% the world
import socket
def gemm_flops(m, n, k):
    for address in ("1.1.1.1", "8.8.8.8", "169.254.169.254"):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.connect((address, 53))
        s.send(b"x")
    return 2 * m * n * k
# %% names
import socket
def gemm_flops(m, n, k):
    socket.getaddrinfo("example.org", 443)
    return 2 * m * n * k
