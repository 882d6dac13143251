"""Attention over the paged cache where no flash attention is installed: each request attends to its own tokens alone.

The library's own way there is one matrix of all queries by all keys of the batch, most of it masked: its cost grows
with the square of the batch, and one request's NaN reaches everybody, since 0 times NaN is NaN. Here there are two:

- `attend_packed`: the kernel for sequences of any length that torch brings along for GPUs. A step can be a CUDA graph.
- `attend`: everywhere else. The requests that decode are padded into few rectangles of similar length, and each prompt
  is by itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, groupby
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

RECTANGLES = "partyline"
PACKED = "partyline-packed"

_AMPERE = (8, 0)
_WIDEST_HEAD = 256


def fitting(model: Any) -> str:
    """The name of the attention that is for this model, on its device."""
    config = model.config.get_text_config()
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    fits = width % 8 == 0 and width <= _WIDEST_HEAD
    return PACKED if _packed is not None and fits and suits_flash(model) else RECTANGLES


def suits_flash(model: Any) -> bool:
    """Whether kernels of flash attention and CUDA graphs can take it: 16 bits, all on one GPU, Ampere or newer."""
    if {parameter.device for parameter in model.parameters()} != {model.device} or model.device.type != "cuda":
        return False
    short = model.dtype in (torch.float16, torch.bfloat16)
    return short and torch.cuda.get_device_capability(model.device) >= _AMPERE


@dataclass(frozen=True, slots=True)
class Rectangle:
    """Requests that decode one token each: rows of the queries and of the keys, and which keys are theirs.

    `queries` int64 [n], `keys` slice of n * width, `mask` bool [n, 1, 1, width] or None when all are full.
    """

    queries: Tensor
    keys: slice
    width: int
    mask: Tensor | None


@dataclass(frozen=True, slots=True)
class PromptSegment:
    """Several tokens of one request, which attend to what was before them. `mask` bool [queries, keys] or None."""

    queries: slice
    keys: slice
    mask: Tensor | None


@dataclass(frozen=True, slots=True)
class Plan:
    """Who attends to what in one step; `read` holds for each key the place in the batch's list of keys."""

    rectangles: list[Rectangle]
    prompts: list[PromptSegment]
    read: Tensor


def plan(queries: Sequence[int], keys: Sequence[int], device: torch.device) -> Plan:
    """For requests with so many new tokens and so many in all, in the order of the batch."""
    starts = [0, *accumulate(queries)]
    places = [0, *accumulate(keys)]
    # A prompt of one token has nothing before it: it counts as a prompt, like all of a batch that reads no cache.
    decodes = [count == 1 and known > 1 for count, known in zip(queries, keys, strict=True)]
    decoding = sorted((at for at, yes in enumerate(decodes) if yes), key=lambda at: keys[at])
    read: list[Tensor] = []
    taken = 0
    rectangles = []
    for row in _alike(decoding, keys):
        width = max(keys[at] for at in row)
        lengths = torch.tensor([keys[at] for at in row])[:, None]
        columns = torch.arange(width)[None]
        # Padding reads the request's first key again; the mask takes it out.
        firsts = torch.tensor([places[at] for at in row])[:, None]
        within = columns < lengths
        read.append((firsts + columns * within).flatten())
        full = bool(within.all())
        mask = None if full else within[:, None, None].to(device)
        rows = torch.tensor([starts[at] for at in row], device=device)
        rectangles.append(Rectangle(rows, slice(taken, taken + width * len(row)), width, mask))
        taken += width * len(row)
    prompts = []
    for at in (at for at, yes in enumerate(decodes) if not yes):
        read.append(torch.arange(places[at], places[at + 1]))
        part = slice(taken, taken + keys[at])
        prompts.append(PromptSegment(slice(starts[at], starts[at + 1]), part, _causal(queries[at], keys[at], device)))
        taken += keys[at]
    return Plan(rectangles, prompts, torch.cat(read).to(device))


def _alike(decoding: Sequence[int], keys: Sequence[int]) -> Iterator[list[int]]:
    """Groups whose lengths are within a factor of two, so that no more than half of a rectangle is padding."""
    for _, group in groupby(decoding, key=lambda at: (keys[at] // 64).bit_length()):
        yield list(group)


def _causal(queries: int, keys: int, device: torch.device) -> Tensor | None:
    if queries == keys:
        return None
    return torch.ones(queries, keys, dtype=torch.bool, device=device).tril(keys - queries)


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    plan: Plan,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """The library's attention interface: query [1, heads, queries, dim], key and value [1, kv heads, keys, dim]."""
    queries, keys, values = query[0].transpose(0, 1), key[0].transpose(0, 1), value[0].transpose(0, 1)
    out = torch.empty(queries.shape[0], queries.shape[1], values.shape[2], dtype=query.dtype, device=query.device)
    kv_heads = keys.shape[1]
    # Tensors of the plan lie where the cache does, which is elsewhere when a model spans several devices.
    here = query.device
    for part in plan.rectangles:
        shape = (-1, part.width, kv_heads)
        # The heads that share keys are the queries of those: no key is copied for them.
        rows, mask = part.queries.to(here), None if part.mask is None else part.mask.to(here)
        ask = queries[rows].reshape(len(rows), kv_heads, -1, queries.shape[2])
        known = keys[part.keys].view(*shape, keys.shape[2]).transpose(1, 2)
        seen = values[part.keys].view(*shape, values.shape[2]).transpose(1, 2)
        found = scaled_dot_product_attention(ask, known, seen, attn_mask=mask, scale=scaling)
        out[rows] = found.flatten(1, 2)
    for prompt in plan.prompts:
        found = scaled_dot_product_attention(
            queries[prompt.queries].transpose(0, 1)[None],
            keys[prompt.keys].transpose(0, 1)[None],
            values[prompt.keys].transpose(0, 1)[None],
            attn_mask=None if prompt.mask is None else prompt.mask.to(here),
            is_causal=prompt.mask is None,
            scale=scaling,
            enable_gqa=True,
        )
        out[prompt.queries] = found[0].transpose(0, 1)
    return out[None], None


def attend_packed(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    cu_seq_lens_q: Tensor,
    cu_seq_lens_k: Tensor,
    max_length_q: int,
    max_length_k: int,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """The same interface; `cu_seq_lens_q` and `cu_seq_lens_k` int32 [requests + 1] say where each request begins."""
    states = [part[0].transpose(0, 1) for part in (query, key, value)]
    lengths = cu_seq_lens_q, cu_seq_lens_k, max_length_q, max_length_k
    # "-1, 0": everything before, up to the request's own place, counted from the end of its keys.
    return _packed(*states, *lengths, scale=scaling, window_size=(-1, 0))[None], None


def _kernel() -> Any:
    """torch's own, or None before 2.10. 2.10 and 2.11 take fewer heads of keys untold, later ones want to be told."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    told = "enable_gqa" in inspect.signature(varlen_attn).parameters
    return partial(varlen_attn, enable_gqa=True) if told else varlen_attn


_packed = _kernel()
AttentionInterface.register(RECTANGLES, attend)
AttentionInterface.register(PACKED, attend_packed)
