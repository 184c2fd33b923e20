"""ZeRO-Offload, ZeRO-Infinity and ZeRO++: memory that is bought with traffic, and at what price.

The figures of ZeRO-Offload (arXiv 2101.06840) and ZeRO++ (arXiv 2306.10209) follow the abstracts and
DeepSpeed's own posts and are derived again here; those of ZeRO-Infinity (arXiv 2104.07857) follow its
slides. The papers were not read in full. *Unverified*: whether ZeRO-Infinity's total of model states is
240·L·h² bytes (20 per parameter; one implementation) or 192·L·h² (16; another source). Not in here for that.
"""

from fractions import Fraction
from typing import NamedTuple

from labkit.quantities import Exact, Number, QuantityError, exact, simplest, whole_number

# What stays on the GPU of (fp16 gradients, fp32 optimizer states); fp16 parameters always do.
PLACEMENTS: dict[str, tuple[bool, bool]] = {
    "gpu": (True, True),
    "gradients on cpu": (False, True),
    "optimizer on cpu": (True, False),
    "both on cpu": (False, False),  # ZeRO-Offload
}


class Offload(NamedTuple):
    """Bytes per rank of a placement: on the GPU, in the host's memory, and over the link each step."""

    gpu_bytes: Exact
    cpu_bytes: Exact
    link_bytes: Exact


def offload(num_params: Number, world_size: int = 1, placement: str = "both on cpu") -> Offload:
    """ZeRO-Offload on top of stage 2: fp16 parameters (2Φ) and all forward and backward stay on the GPU.

    Adam runs where the fp32 states are. Whatever is moved, the link carries 4Φ/N bytes a step: 2Φ/N of
    gradients one way, 2Φ/N of fp16 parameters or gradients the other. That is the least for a split that
    keeps the fp32 states on one side.

    >>> offload(10**9)
    Offload(gpu_bytes=2000000000, cpu_bytes=14000000000, link_bytes=4000000000)
    >>> [offload(10**9, placement=name).gpu_bytes // 10**9 for name in PLACEMENTS]
    [16, 14, 4, 2]

    Each rank moves only its shard, then the usual all-gather follows. A delayed update hides Adam's time
    on the CPU behind the next forward pass, at the price of one step of staleness.
    """
    if placement not in PLACEMENTS:
        raise QuantityError(f"placement must be one of {', '.join(PLACEMENTS)}, got {placement!r}.")
    params, N = whole_number(num_params, "num_params"), whole_number(world_size, "world_size")
    grads_on_gpu, optimizer_on_gpu = PLACEMENTS[placement]
    sharded = (2 if grads_on_gpu else 0) + (12 if optimizer_on_gpu else 0)
    link = 0 if placement == "gpu" else 4
    return Offload(
        gpu_bytes=simplest(2 * params + Fraction(sharded * params, N)),
        cpu_bytes=simplest(Fraction((14 - sharded) * params, N)),
        link_bytes=simplest(Fraction(link * params, N)),
    )


def infinity_intensity(what: str, seq: int, batch: int, hidden: int = 0, checkpoint_every: int = 1) -> Exact:
    """Arithmetic intensity, FLOPs per byte moved, of what ZeRO-Infinity keeps off the GPU.

    "parameters and gradients": s·b · "optimizer": s·b/4 · "activations": 24·h·c, c layers per checkpoint.
    A step takes 8Φ FLOPs per token with full recompute. Parameters are read three times and gradients
    written once, 8Φ bytes in fp16; optimizer states (fp32 weights, gradients, momentum and variance) are
    read and written, 32Φ bytes.

    >>> infinity_intensity("optimizer", seq=1024, batch=2)
    512
    """
    s, b = whole_number(seq, "seq"), whole_number(batch, "batch")
    intensities = {
        "parameters and gradients": Fraction(s * b),
        "optimizer": Fraction(s * b, 4),
        "activations": Fraction(24 * hidden * checkpoint_every),
    }
    if what not in intensities:
        raise QuantityError(f"what must be one of {', '.join(intensities)}, got {what!r}.")
    if not intensities[what]:
        raise QuantityError("The intensity of activations needs hidden, the width of the model.")
    return simplest(intensities[what])


def infinity_efficiency(intensity: Number, bytes_per_s: Number, peak_flops: Number) -> float:
    """Share of the peak that is left when data streams in without overlap: i·bw / (i·bw + peak).

    >>> round(infinity_efficiency(2048, 70e9, 70e12), 4)
    0.6719
    """
    speed = exact(intensity, "intensity") * exact(bytes_per_s, "bytes_per_s")
    return float(speed / (speed + exact(peak_flops, "peak_flops")))


def infinity_bandwidth(intensity: Number, peak_flops: Number, efficiency: float = 0.5) -> float:
    """Bytes per second that reach an efficiency: the formula above, solved for the bandwidth."""
    wanted = Fraction(efficiency)
    if not 0 < wanted < 1:
        raise QuantityError(f"efficiency must lie between 0 and 1, got {efficiency!r}.")
    return float(exact(peak_flops, "peak_flops") * wanted / (1 - wanted) / exact(intensity, "intensity"))


def infinity_working_bytes(seq: int, batch: int, hidden: int, heads: int, checkpoint_every: int = 1) -> int:
    """Bytes that the GPU needs whatever is offloaded: the largest operator, and one recomputed stretch.

    4·h·4h for the parameters and gradients of the h x 4h matrix, and b·s·c·(16h + 2·heads·s) between two
    checkpoints (arXiv 2104.07857's slides).

    >>> infinity_working_bytes(1024, 1, 8192, 64) == 4 * 8192 * 4 * 8192 + 1024 * (16 * 8192 + 2 * 64 * 1024)
    True
    """
    operator = 4 * hidden * 4 * hidden
    return operator + batch * seq * checkpoint_every * (16 * hidden + 2 * heads * seq)


class NodeTraffic(NamedTuple):
    """Data that crosses between nodes per step, in multiples of the model's fp16 size M."""

    forward_gather: Fraction
    backward_gather: Fraction
    gradients: Fraction

    @property
    def total(self) -> Fraction:
        return sum(self, Fraction(0))


def zeropp_traffic(qwz: bool = True, hpz: bool = True, qgz: bool = True) -> NodeTraffic:
    """ZeRO++'s three savings over stage 3's M + M + M, each on its own switch.

    qwZ sends int8 blocks for fp16 weights (taken here to hold for the backward gather too, where hpZ has
    not removed it: the published table has no such row). hpZ keeps a whole replica inside each node, so
    nothing crosses for backward. qgZ sends int4 gradients by all-to-all. All but hpZ lose precision;
    stages 1 to 3 lose none.

    >>> [float(part) for part in zeropp_traffic()], float(zeropp_traffic().total)
    ([0.5, 0.0, 0.25], 0.75)
    >>> int(zeropp_traffic(False, False, False).total)
    3
    """
    weights = Fraction(1, 2) if qwz else Fraction(1)
    return NodeTraffic(weights, Fraction(0) if hpz else weights, Fraction(1, 4) if qgz else Fraction(1))


def hpz_bytes(num_params: Number, gpus_per_node: int, bytes_per_param: int = 2) -> Exact:
    """What hpZ costs: bytes per GPU of the replica that each node keeps, 2Φ/G.

    >>> from labkit.zero.states import state_bytes
    >>> float((state_bytes(10**9, 1024, 3) + hpz_bytes(10**9, 16)) / state_bytes(10**9, 1024, 3))
    9.0
    """
    params = whole_number(num_params, "num_params")
    return simplest(Fraction(bytes_per_param * params, whole_number(gpus_per_node, "gpus_per_node")))


def qgz_cross_node(gpus_per_node: int, compression: int = 4, hops: int = 2) -> Fraction:
    """Gradients that a node sends to others, in multiples of M: M·G/Z in one hop, M/Z in two.

    In one hop each of the G GPUs of a node sends its own gradient out. In two, the node adds its
    gradients up first, and one sum crosses.
    """
    if hops not in (1, 2):
        raise QuantityError(f"hops must be 1 or 2, got {hops!r}.")
    gpus = whole_number(gpus_per_node, "gpus_per_node") if hops == 1 else 1
    return Fraction(gpus, whole_number(compression, "compression"))
