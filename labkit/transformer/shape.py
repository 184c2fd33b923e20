"""What a transformer looks like, in the ten numbers that its memory and its FLOPs depend on."""

from dataclasses import dataclass
from difflib import get_close_matches

from labkit.quantities import QuantityError, whole_number
from labkit.transformer.flops import transformer_flops
from labkit.transformer.kv_cache import kv_cache_bytes
from labkit.transformer.parameters import check_heads, transformer_params


@dataclass(frozen=True)
class TransformerShape:
    """A decoder: GPT-shaped (LayerNorm, biases, a GELU MLP) or LLaMA-shaped (RMSNorm, no biases, SwiGLU).

    Raises QuantityError where the numbers make no model: heads that do not divide `hidden`, for one.
    """

    name: str
    layers: int
    hidden: int  # width of the residual stream
    heads: int  # query heads; a head is hidden / heads wide
    ffn: int  # width inside the MLP
    vocab: int
    kv_heads: int = 0  # key and value heads; 0: as many as query heads
    positions: int = 0  # rows of a learned position table; 0: rotary positions, no parameters
    gated: bool = False  # SwiGLU: three matrices in the MLP and not two
    biases: bool = True  # biases in linear layers, and LayerNorm; False: none, and RMSNorm
    tied: bool = True  # the output head is the embedding table

    def __post_init__(self) -> None:
        for name in ("layers", "hidden", "heads", "ffn", "vocab"):
            object.__setattr__(self, name, whole_number(getattr(self, name), name))
        object.__setattr__(self, "kv_heads", self.kv_heads or self.heads)
        check_heads(self.hidden, self.heads, self.kv_heads)
        if not self.positions and self.head_dim % 2:
            raise QuantityError(f"Rotary positions turn pairs of channels: a head of {self.head_dim} has no pairs.")

    @property
    def head_dim(self) -> int:
        return self.hidden // self.heads

    @property
    def kv_width(self) -> int:
        """Width of the keys, and of the values: smaller than `hidden` with grouped-query attention."""
        return self.head_dim * self.kv_heads

    def check_seq(self, seq: int) -> int:
        """`seq`, if the model has a position for every token; QuantityError if not."""
        if self.positions and whole_number(seq, "seq") > self.positions:
            raise QuantityError(f"{self.name} has positions for {self.positions} tokens, got seq = {seq}.")
        return whole_number(seq, "seq")

    def check_tensor_parallel(self, num_ranks: int, seq: int, *, sequence_parallel: bool = False) -> int:
        """`num_ranks`, if that many can share a layer evenly; QuantityError that says what they cannot.

        Whole heads, key heads among them, and the MLP's width are divided; with sequence parallelism the tokens too.
        """
        t = whole_number(num_ranks, "tensor_parallel")
        divided = {f"{self.heads} heads": self.heads, f"{self.kv_heads} key heads": self.kv_heads}
        divided[f"an MLP of {self.ffn}"] = self.ffn
        if sequence_parallel:
            divided[f"{seq} tokens (sequence parallelism)"] = seq
        for what, count in divided.items():
            if count % t:
                raise QuantityError(f"tensor_parallel = {t} ranks cannot share {what} of {self.name} evenly.")
        return t

    @property
    def num_params(self) -> int:
        """`transformer_params` of this shape."""
        return transformer_params(
            self.layers,
            self.hidden,
            self.vocab,
            self.ffn,
            heads=self.heads,
            kv_heads=self.kv_heads,
            positions=self.positions,
            gated=self.gated,
            biases=self.biases,
            tied=self.tied,
        )

    def flops(self, seq: int, batch: int = 1, *, training: bool = False, recompute: str = "none") -> int:
        """`transformer_flops` of this shape."""
        return transformer_flops(
            self.check_seq(seq),
            batch,
            self.layers,
            self.hidden,
            self.vocab,
            self.ffn,
            heads=self.heads,
            kv_heads=self.kv_heads,
            gated=self.gated,
            training=training,
            recompute=recompute,
        )

    def kv_cache_bytes(self, seq: int, batch: int = 1, bytes_per_element: int = 2) -> int:
        """`kv_cache_bytes` of this shape."""
        return kv_cache_bytes(self.check_seq(seq), batch, self.layers, self.kv_heads, self.head_dim, bytes_per_element)


def _gpt(name: str, layers: int, hidden: int, heads: int, positions: int = 1024) -> TransformerShape:
    return TransformerShape(name, layers, hidden, heads, 4 * hidden, 50257, positions=positions)


def _llama(
    name: str, layers: int, hidden: int, heads: int, ffn: int, vocab: int = 32000, kv_heads: int = 0
) -> TransformerShape:
    return TransformerShape(name, layers, hidden, heads, ffn, vocab, kv_heads, gated=True, biases=False, tied=False)


# The published configurations; the tests compare each with the parameter count of its released weights.
PRESETS: dict[str, TransformerShape] = {
    shape.name: shape
    for shape in (
        _gpt("gpt2", 12, 768, 12),
        _gpt("gpt2-medium", 24, 1024, 16),
        _gpt("gpt2-large", 36, 1280, 20),
        _gpt("gpt2-xl", 48, 1600, 25),
        _gpt("gpt3-175b", 96, 12288, 96, positions=2048),
        _llama("tinyllama-1.1b", 22, 2048, 32, 5632, kv_heads=4),
        _llama("llama-7b", 32, 4096, 32, 11008),
        _llama("llama-13b", 40, 5120, 40, 13824),
        _llama("llama-30b", 60, 6656, 52, 17920),
        _llama("llama-65b", 80, 8192, 64, 22016),
        _llama("llama-70b", 80, 8192, 64, 28672, kv_heads=8),  # Llama 2
        _llama("llama3-8b", 32, 4096, 32, 14336, vocab=128256, kv_heads=8),
        _llama("llama3-70b", 80, 8192, 64, 28672, vocab=128256, kv_heads=8),
        _llama("llama3-405b", 126, 16384, 128, 53248, vocab=128256, kv_heads=8),
    )
}


def find_shape(name: str) -> TransformerShape:
    """The preset of that name. Raises QuantityError that names the nearest ones."""
    if name in PRESETS:
        return PRESETS[name]
    near = get_close_matches(name.lower(), PRESETS, n=3, cutoff=0.4) or list(PRESETS)
    raise QuantityError(f"There is no configuration called {name!r}; did you mean {' or '.join(near)}?")
