"""Chooses the next token of every request of a batch in one pass over the logits, each by its own settings.

The order is that of transformers and vLLM: repetition and presence penalty, no end before `min_new_tokens`,
temperature, top_k, top_p. A token is then drawn by the Gumbel-max trick: add -log(-log(u)) to every scaled logit, take
the largest (Gumbel 1954; Maddison et al. 2014). Each u comes from a counter-based generator (SplitMix64, Steele et al.
2014) with the seed and the position as its key and the token id as its counter. So nothing random is shared: a request
draws the same tokens whoever else is in the batch, and an answer that is continued goes on as if it had not stopped.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from inference.api import Sampling

_GOLDEN = 0x9E3779B97F4A7C15
_MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_LAST_SHIFT = 31
_WORD = 2**64
# Candidates that are looked at first, and when they do not hold top_p; after that, the whole vocabulary.
_WIDTHS = (64, 1024)
# A top_p that no rounding of a sum can reach.
_ALL = 2.0


class Row:
    """One request in the batch: its settings, its key, and what its penalties count.

    Args:
        prompt: token ids of the prompt, what the answer continues from included.
        said: those of them which the answer continues from.
        room: how many tokens will be chosen at most.
    """

    def __init__(self, sampling: Sampling, prompt: Sequence[int], *, said: Sequence[int] = (), room: int) -> None:
        self.sampling = sampling
        self.start = len(prompt)
        self.seed = secrets.randbits(64) if sampling.seed is None else sampling.seed
        self.seen = _Spoken(prompt, room) if sampling.repetition_penalty != 1 else None
        self.said = _Spoken(said, room) if sampling.presence_penalty else None


class _Spoken:
    """Token ids on the device, some of them perhaps more than once."""

    def __init__(self, ids: Iterable[int], room: int) -> None:
        self._first = sorted(set(ids))
        self._room = room
        self._count = len(self._first)
        self._ids: Tensor | None = None

    def on(self, device: torch.device) -> Tensor:
        if self._ids is None:
            self._ids = torch.empty(self._count + self._room + 1, dtype=torch.long, device=device)
            self._ids[: self._count] = _on(device, self._first, torch.long)
        return self._ids[: self._count]

    def add(self, token: Tensor) -> None:
        if self._ids is not None and self._count < len(self._ids):
            self._ids[self._count] = token
            self._count += 1


class Sampler:
    """Chooses tokens; keeps nothing between two steps but the tensors of the batch that it saw last.

    Args:
        end_ids: ids that end a text, which `min_new_tokens` holds back.
        never: ids that must not be chosen.
    """

    def __init__(self, *, end_ids: Sequence[int] = (), never: Sequence[int] = ()) -> None:
        self._end_ids = list(end_ids)
        self._never = torch.tensor(never, dtype=torch.long)
        self._batch: _Batch | None = None

    def choose(self, logits: Tensor, rows: Sequence[Row], positions: Sequence[int]) -> Tensor:
        """The next token of each row, int64 [rows]; a row whose logits are no numbers gets the size of the vocabulary.

        Args:
            logits: float32 [rows, vocabulary], overwritten.
            positions: of the tokens that are chosen, counted from the start of the prompt.
        """
        if self._batch is None or not self._batch.holds(rows, logits.device):
            self._batch = _Batch(rows, logits.device)
        batch = self._batch
        batch.penalise(logits)
        self._hold_back(logits, rows, positions)
        peaks, tokens = logits.max(dim=-1)
        if batch.drawing is not None:
            keys = [_key(rows[at].seed, positions[at]) for at in batch.drawing]
            tokens[batch.drawing_rows] = batch.draw(logits, peaks, _on(logits.device, keys, torch.long))
        tokens = torch.where(peaks.isfinite(), tokens, logits.shape[-1])
        batch.note(tokens)
        return tokens

    def _hold_back(self, logits: Tensor, rows: Sequence[Row], positions: Sequence[int]) -> None:
        if len(self._never):
            self._never = self._never.to(logits.device)
            logits.index_fill_(1, self._never, -torch.inf)
        early = [
            at
            for at, (row, position) in enumerate(zip(rows, positions, strict=True))
            if position - row.start < row.sampling.min_new_tokens
        ]
        if early and self._end_ids:
            at, ends = (_on(logits.device, values, torch.long) for values in (early, self._end_ids))
            logits[at[:, None], ends[None]] = -torch.inf


class _Batch:
    """The settings of some rows as tensors."""

    def __init__(self, rows: Sequence[Row], device: torch.device) -> None:
        self._rows = list(rows)
        self._device = device
        self._repeating = [at for at, row in enumerate(rows) if row.seen is not None]
        self._present = [at for at, row in enumerate(rows) if row.said is not None]
        drawing = [at for at, row in enumerate(rows) if row.sampling.temperature > 0]
        self.drawing = drawing or None
        self.drawing_rows = _on(device, drawing, torch.long)
        settings = [rows[at].sampling for at in drawing]
        self._every_row_draws = len(drawing) == len(rows)
        self._temperature = self._column([s.temperature for s in settings])
        self._top_k = _on(device, [s.top_k for s in settings], torch.long)[:, None]
        self._top_p = self._column([_ALL if s.top_p >= 1 else s.top_p for s in settings])
        unlimited = [s.top_k == 0 and s.top_p >= 1 for s in settings]
        self._limited = self._where([not free for free in unlimited])
        self._unlimited = self._where(unlimited)

    def holds(self, rows: Sequence[Row], device: torch.device) -> bool:
        same = len(rows) == len(self._rows) and all(a is b for a, b in zip(rows, self._rows, strict=True))
        return same and device == self._device

    def penalise(self, logits: Tensor) -> None:
        """Lowers what was said before. An id that occurs twice is computed twice, to the same value."""
        if self._repeating:
            spoken = [row.seen.on(self._device) for row in self._rows if row.seen is not None]
            at = self._repeated(self._repeating, spoken, torch.long)
            penalties = [self._rows[index].sampling.repetition_penalty for index in self._repeating]
            penalty = self._repeated(penalties, spoken, torch.float32)
            ids = torch.cat(spoken)
            values = logits[at, ids]
            logits[at, ids] = torch.where(values > 0, values / penalty, values * penalty)
        if self._present:
            spoken = [row.said.on(self._device) for row in self._rows if row.said is not None]
            at = self._repeated(self._present, spoken, torch.long)
            penalties = [self._rows[index].sampling.presence_penalty for index in self._present]
            penalty = self._repeated(penalties, spoken, torch.float32)
            ids = torch.cat(spoken)
            logits[at, ids] = logits[at, ids] - penalty

    def draw(self, logits: Tensor, peaks: Tensor, keys: Tensor) -> Tensor:
        """Tokens of the rows that draw, by the keys (int64) of their noise."""
        if not self._every_row_draws:
            logits, peaks = logits[self.drawing_rows], peaks[self.drawing_rows]
        tokens = torch.empty_like(keys)
        if self._unlimited is not None:
            tokens[self._unlimited] = self._among_all(self._unlimited, logits, peaks, keys)
        if self._limited is not None:
            tokens[self._limited] = self._among_likeliest(self._limited, logits, peaks, keys)
        return tokens

    def _among_all(self, rows: Tensor | slice, logits: Tensor, peaks: Tensor, keys: Tensor) -> Tensor:
        """The tokens of rows that may draw any: nothing need be in order for that."""
        scaled = (logits[rows] - peaks[rows, None]) / self._temperature[rows]
        ids = torch.arange(logits.shape[-1], device=self._device)[None]
        return _gumbel(keys[rows], ids).add_(scaled).argmax(-1)

    def _among_likeliest(self, rows: Tensor | slice, logits: Tensor, peaks: Tensor, keys: Tensor) -> Tensor:
        """The tokens of rows whose top_p or top_k leaves few: of the 64 likeliest, unless those do not hold top_p."""
        logits, peaks, keys = logits[rows], peaks[rows], keys[rows]
        limits = self._top_k[rows], self._top_p[rows], self._temperature[rows]
        total = ((logits - peaks[:, None]) / limits[2]).exp_().sum(-1, keepdim=True)
        first, *wider = (*(width for width in _WIDTHS if width < logits.shape[-1]), logits.shape[-1])
        states = logits, peaks, total, keys, *limits
        tokens, sure = _among(first, *states)
        for width in wider:
            # The first question to the device in this step: until here its work was queued behind the forward pass.
            left = (~sure).nonzero()[:, 0]
            if not len(left):
                break
            tokens[left], sure[left] = _among(width, *(state[left] for state in states))
        return tokens

    def note(self, tokens: Tensor) -> None:
        """Remembers what was chosen, for the penalties."""
        for at, row in enumerate(self._rows):
            for spoken in (row.seen, row.said):
                if spoken is not None:
                    spoken.add(tokens[at])

    def _where(self, chosen: list[bool]) -> Tensor | slice | None:
        """The rows that are chosen: a slice is all of them, which costs no copy; None is none."""
        if not any(chosen):
            return None
        return slice(None) if all(chosen) else _on(self._device, [n for n, yes in enumerate(chosen) if yes], torch.long)

    def _column(self, values: list[float]) -> Tensor:
        return _on(self._device, values, torch.float32)[:, None]

    def _repeated(self, values: Sequence[float], spoken: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
        counts = [len(ids) for ids in spoken]
        return _on(self._device, values, dtype).repeat_interleave(
            _on(self._device, counts, torch.long), output_size=sum(counts)
        )


def _among(
    width: int,
    logits: Tensor,
    peaks: Tensor,
    total: Tensor,
    keys: Tensor,
    top_k: Tensor,
    top_p: Tensor,
    temperature: Tensor,
) -> tuple[Tensor, Tensor]:
    """The tokens that rows draw from the `width` likeliest, and whether those hold all that may be drawn."""
    top, ids = logits.sort(descending=True) if width == logits.shape[-1] else logits.topk(width)
    scaled = (top - peaks[:, None]) / temperature
    least = top.gather(1, (top_k.clamp(1, width) - 1))
    # Ties with the last of the k stay, as in transformers.
    kept = (top_k == 0) | (top >= least)
    mass = torch.where(kept, scaled.exp(), 0.0)
    limited = (top_k > 0) & ((top_k <= width) & (top[:, -1:] < least) | (width == logits.shape[-1]))
    total = torch.where(limited, mass.sum(-1, keepdim=True), total)
    sums = mass.cumsum(-1)
    kept &= (sums - mass) < top_p * total
    sure = limited | ((top_k == 0) & (sums[:, -1:] >= top_p * total))
    if width == logits.shape[-1]:
        sure = torch.ones_like(sure)
    noisy = torch.where(kept, scaled.double() + _gumbel(keys, ids), -torch.inf)
    return ids.gather(1, noisy.argmax(-1, keepdim=True))[:, 0], sure[:, 0]


def _on(device: torch.device, values: Sequence[float], dtype: torch.dtype) -> Tensor:
    """A tensor on the device, which is not waited for: a copy from memory that is not pinned would."""
    made = torch.tensor(values, dtype=dtype, pin_memory=device.type == "cuda")
    return made.to(device, non_blocking=True)


def _key(seed: int, position: int) -> int:
    """A signed 64-bit key; neighbouring seeds and positions have nothing in common."""
    key = _mixed((_mixed((seed + _GOLDEN) % _WORD) + (position + 1) * _GOLDEN) % _WORD)
    return key - _WORD if key >= _WORD // 2 else key


def _mixed(word: int) -> int:
    """SplitMix64's finaliser."""
    for shift, factor in _MIX:
        word = ((word ^ (word >> shift)) * factor) % _WORD
    return word ^ (word >> _LAST_SHIFT)


def _gumbel(keys: Tensor, counters: Tensor) -> Tensor:
    """Standard Gumbel noise, float64 of the shape of `counters` [rows, n], with one key a row (both int64)."""
    # torch's int64 arithmetic wraps around; its right shift keeps the sign, which the masks take away. In place: over a
    # whole vocabulary it waits for nothing but memory.
    words = (counters + 1) * _signed(_GOLDEN) + keys[:, None]
    for shift, factor in _MIX:
        words = _shifted(words, shift).bitwise_xor_(words).mul_(_signed(factor))
    words = _shifted(words, _LAST_SHIFT).bitwise_xor_(words)
    # 52 bits and a half: never 0, never 1.
    uniform = _shifted(words, 12).double().add_(0.5).mul_(2.0**-52)
    return uniform.log_().neg_().log_().neg_()


def _shifted(words: Tensor, by: int) -> Tensor:
    return (words >> by).bitwise_and_((1 << (64 - by)) - 1)


def _signed(word: int) -> int:
    return word - _WORD if word >= _WORD // 2 else word
