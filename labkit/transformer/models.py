"""The transformers that the formulas are checked against: plain, short, and instantiated on the meta device.

A meta tensor has a shape and no memory, so a 70-billion-parameter model is built in a second and its
operations can be recorded. Attention is written out (no fused kernel) unless `flash=True`.

Axes: B batch, T tokens, C hidden, H query heads, K key heads, D head size, V vocabulary.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from labkit.transformer.shape import TransformerShape


class RMSNorm(nn.Module):
    """Three operations in the model's own type: what a reader sees is what is saved."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * self.weight


class Attention(nn.Module):
    """Causal self-attention with grouped keys and values."""

    def __init__(self, shape: TransformerShape, dropout: float, flash: bool, recompute: bool) -> None:
        super().__init__()
        self.shape, self.dropout, self.flash, self.recompute = shape, dropout, flash, recompute
        C, kv = shape.hidden, shape.kv_width
        self.query = nn.Linear(C, C, bias=shape.biases)
        self.key = nn.Linear(C, kv, bias=shape.biases)
        self.value = nn.Linear(C, kv, bias=shape.biases)
        self.output = nn.Linear(C, C, bias=shape.biases)

    def forward(self, x: Tensor, *turns: Tensor) -> Tensor:
        B, T, C = x.shape
        H, K, D = self.shape.heads, self.shape.kv_heads, self.shape.head_dim
        q = self.query(x).view(B, T, H, D).transpose(1, 2)  # B H T D
        k = self.key(x).view(B, T, K, D).transpose(1, 2)  # B K T D
        v = self.value(x).view(B, T, K, D).transpose(1, 2)  # B K T D
        if turns:
            q, k = rotate(q, *turns), rotate(k, *turns)
        if self.flash:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=K != H)
        elif self.recompute:
            y = checkpoint(self.attend, q, k, v, use_reentrant=False)
        else:
            y = self.attend(q, k, v)
        return self.output(y.transpose(1, 2).reshape(B, T, C))

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """softmax(q kᵀ / √D) v. The H / K query heads of a key head share it, without a copy of it."""
        B, H, T, D = q.shape
        K = k.shape[1]
        q = q.reshape(B, K, H // K * T, D)
        scores = q @ k.transpose(-2, -1) / math.sqrt(D)  # B K H/K·T T
        scores = scores.view(B, H, T, T) + causal_mask(T, scores)
        weights = scores.softmax(-1)
        if self.dropout:
            weights = F.dropout(weights, self.dropout)
        return (weights.view(B, K, H // K * T, T) @ v).view(B, H, T, D)


def causal_mask(T: int, like: Tensor) -> Tensor:
    """0 where a token may look, minus infinity in its future. Shape: (T, T)."""
    return torch.full((T, T), -math.inf, dtype=like.dtype, device=like.device).triu(1)


def rotary_turns(T: int, D: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the angles of rotary positions, made once for all layers. Shape: (T, D) each."""
    frequency = 10000.0 ** (-torch.arange(0, D, 2, device=like.device) / D)  # D/2
    angle = torch.outer(torch.arange(T, device=like.device), frequency).repeat(1, 2)  # T D
    return angle.cos().to(like.dtype), angle.sin().to(like.dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair of channels of x (B H T D) by its position's angle."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), -1) * sin


class MLP(nn.Module):
    """GELU between two matrices, or SwiGLU between three."""

    def __init__(self, shape: TransformerShape) -> None:
        super().__init__()
        self.up = nn.Linear(shape.hidden, shape.ffn, bias=shape.biases)
        self.gate = nn.Linear(shape.hidden, shape.ffn, bias=shape.biases) if shape.gated else None
        self.down = nn.Linear(shape.ffn, shape.hidden, bias=shape.biases)

    def forward(self, x: Tensor) -> Tensor:
        if self.gate is None:
            return self.down(F.gelu(self.up(x)))
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Block(nn.Module):
    """One layer: attention and MLP, each behind a norm and added to the residual stream."""

    def __init__(self, shape: TransformerShape, dropout: float, flash: bool, recompute: str) -> None:
        super().__init__()
        norm = nn.LayerNorm if shape.biases else RMSNorm
        self.dropout = dropout
        self.norm1, self.norm2 = norm(shape.hidden), norm(shape.hidden)
        self.attention = Attention(shape, dropout, flash, recompute == "selective")
        self.mlp = MLP(shape)

    def forward(self, x: Tensor, *turns: Tensor) -> Tensor:
        x = x + self.drop(self.attention(self.norm1(x), *turns))
        return x + self.drop(self.mlp(self.norm2(x)))

    def drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout) if self.dropout else x


class Transformer(nn.Module):
    """A decoder of the given shape. `model(tokens)` are logits, `model(tokens, targets)` is the loss."""

    def __init__(
        self, shape: TransformerShape, dropout: float = 0.0, flash: bool = False, recompute: str = "none"
    ) -> None:
        super().__init__()
        self.shape, self.recompute = shape, recompute
        self.embedding = nn.Embedding(shape.vocab, shape.hidden)
        self.positions = nn.Embedding(shape.positions, shape.hidden) if shape.positions else None
        self.blocks = nn.ModuleList(Block(shape, dropout, flash, recompute) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.hidden) if shape.biases else RMSNorm(shape.hidden)
        self.head = nn.Linear(shape.hidden, shape.vocab, bias=False)
        if shape.tied:
            self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor, targets: Tensor | None = None) -> Tensor:
        x = self.embedding(tokens)  # B T -> B T C
        T = tokens.shape[1]
        turns: tuple[Tensor, ...] = ()
        if self.positions is None:
            turns = rotary_turns(T, self.shape.head_dim, like=x)
        else:
            x = x + self.positions.weight[:T]
        full = self.recompute == "full"
        for block in self.blocks:
            x = checkpoint(block, x, *turns, use_reentrant=False) if full else block(x, *turns)
        logits: Tensor = self.head(self.norm(x))  # B T V
        if targets is None:
            return logits
        return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())


def build_model(
    shape: TransformerShape, device: str = "meta", dtype: torch.dtype = torch.bfloat16, **options: float | str
) -> Transformer:
    """The model of a shape on `device`; options are those of `Transformer`: dropout, flash, recompute."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            return Transformer(shape, **options)  # type: ignore[arg-type]
    finally:
        torch.set_default_dtype(before)
