"""Loads a checkpoint and everything around it; torch, transformers and accelerate are first imported here."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, ContinuousBatchingConfig
from transformers.utils import logging as transformers_logging

from inference.api import Sampling, Unavailable
from inference.engines.transformers.batch import Member, SharedBatch
from inference.engines.transformers.prompts import Prompt, Prompts
from inference.sampling import Row, Sampler

if TYPE_CHECKING:
    from inference.engines.transformers.engine import TransformersOptions

log = logging.getLogger(__name__)

# Flash attention's block tables need the larger one; small pages waste less and share more, where their size is free.
_PAGE_WITH_FLASH = 256
_PAGE = 32


@dataclass(frozen=True)
class Loaded:
    """A model that is running.

    `vocabulary` is the size of the logits: a token of that number stands for logits that are no numbers.
    """

    batch: SharedBatch
    prompts: Prompts
    tokenizer: Any
    end_ids: frozenset[int]
    hidden: frozenset[int]
    vocabulary: int
    context_tokens: int

    def decode(self, ids: list[int]) -> str:
        """Text of tokens; control tokens are left out."""
        shown = [token for token in ids if token not in self.hidden]
        text: str = self.tokenizer.decode(shown, clean_up_tokenization_spaces=False)
        return text

    def submit(
        self, name: str, prompt: Prompt, sampling: Sampling, most: int, heard: Callable[[Any], None]
    ) -> Member:
        said = prompt.ids[len(prompt.ids) - prompt.said :]
        row = Row(sampling, prompt.ids, said=said, room=most)
        # The one past the vocabulary ends a request whose logits are no numbers.
        ends = [*self.end_ids, self.vocabulary]
        return self.batch.submit(name, prompt.ids, row, most=most, end_ids=ends, heard=heard)

    def close(self) -> None:
        self.batch.stop(hard_stop=True)


def load(reference: str, options: TransformersOptions) -> Loaded:
    """Raises Unavailable."""
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    if not torch.cuda.is_available():
        torch.set_num_threads(options.threads or len(os.sched_getaffinity(0)))
    tokenizer = AutoTokenizer.from_pretrained(reference)
    model = AutoModelForCausalLM.from_pretrained(reference, dtype="auto", device_map="auto")
    config = model.config.get_text_config()
    prompts = Prompts(tokenizer)
    end_ids = _end_ids(model, tokenizer)
    context = min(options.context_tokens, config.max_position_embeddings)
    sampler = Sampler(sorted(end_ids))
    own = not _has_flash(model)
    batch = SharedBatch(model, _batching(options, context, own), sampler, own_attention=own)
    with torch.inference_mode():
        batch.warmup()
        batch.start()
    return Loaded(
        batch=batch,
        prompts=prompts,
        tokenizer=tokenizer,
        end_ids=end_ids,
        hidden=frozenset(tokenizer.all_special_ids),
        vocabulary=config.vocab_size,
        context_tokens=context,
    )


def _has_flash(model: Any) -> bool:
    return False


def _batching(options: TransformersOptions, context: int, own: bool) -> ContinuousBatchingConfig:
    page = _PAGE if own else _PAGE_WITH_FLASH
    pages = -(-context // page) * options.slots
    return ContinuousBatchingConfig(
        page_size=page,
        num_blocks=pages + pages // 4,
        max_batch_tokens=max(options.batch_tokens, options.slots),
        max_requests_per_batch=options.slots,
        use_cuda_graph=False if own else None,
        use_async_batching=False,
    )


def _end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    ends: set[int] = set()
    for found in (model.generation_config.eos_token_id, model.config.eos_token_id, tokenizer.eos_token_id):
        ends |= set(found) if isinstance(found, list | tuple) else {found} if found is not None else set()
    return frozenset(ends)
