"""The library's continuous batch with our sampler in it, and with failures that stay with the request they belong to.

What this relies on beyond the library's documented interface is pinned down in tests/integration/test_batch.py:
`ModelRunner._sample` gets the logits of exactly those requests of the batch that have a new token, in their order;
`ContinuousBatchingManager._generation_loop_body` is one step, `_create_batch_processor` makes its parts,
`PagedAttentionCache.search_prefix_match` and an allocator's `mark_complete_blocks` use token ids as a key alone,
`_handle_critical_error` is the end of its thread.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import ContinuousBatchingConfig, GenerationConfig
from transformers.generation.continuous_batching.cache import PagedAttentionCache
from transformers.generation.continuous_batching.continuous_api import (
    ContinuousBatchingManager,
    ContinuousBatchProcessor,
)
from transformers.generation.continuous_batching.model_runner import ModelRunner
from transformers.generation.continuous_batching.requests import FutureRequestState, RequestState, RequestStatus
from transformers.generation.continuous_batching.utils import stream_context

from inference.api import Unavailable
from inference.engines.cache_salt import salted
from inference.engines.port import Died, TooLarge
from inference.engines.transformers import attention
from inference.engines.transformers.sampling import Row, Sampler
from inference.failures.error_classes import is_out_of_memory
from inference.queueing.adaptive_limit import AdaptiveLimit

log = logging.getLogger(__name__)

_OUT_OF_MEMORY = "out of memory"
# A prompt is read in steps of at least so many tokens, however little memory there is.
_LEAST_TOKENS = 32
# So many requests end, and a step may have twice as many tokens again.
_CALM = 8


@dataclass(slots=True)
class Member:
    """One request in the batch; `cached` tokens of its prompt were there already.

    `reads` is called, in the batch's thread, after a step in which only a part of its prompt was read. Its pages of the
    cache are found again by requests with the same `salt`, and those of the first `head` tokens by all.
    """

    row: Row
    head: int = 0
    salt: bytes = b""
    cached: int | None = None
    reads: Callable[[], None] = lambda: None


class SharedBatch(ContinuousBatchingManager):
    """Everybody's requests in one batch.

    Args:
        own_attention: each request attends to its own tokens, by what `attention.fitting` names; False leaves the
            library's.
    """

    def __init__(self, model: Any, config: ContinuousBatchingConfig, sampler: Sampler, *, own_attention: bool) -> None:
        self._attention = attention.fitting(model) if own_attention else None
        self._sampler = sampler
        self._members: dict[str, Member] = {}
        self._dropped: set[str] = set()
        self._calm = 0
        self._limit = AdaptiveLimit(config.max_requests_per_batch or 1)
        self._trial: tuple[str, int] | None = None
        """The request that is tried alone, and how many were together too much."""
        self._tried: set[str] = set()
        self.current_batch = 0
        self.died = False
        """The thread of the batch has ended by a failure; that is known before any request hears of it."""
        generation = GenerationConfig(do_sample=False, eos_token_id=-1, max_new_tokens=1)  # type: ignore[no-untyped-call]
        super().__init__(model, generation, config)

    @property
    def steps(self) -> int:
        """Forward passes until now."""
        return self.current_batch

    @property
    def running(self) -> int:
        """How many requests hold a place in the batch or wait for one."""
        processor = self.batch_processor
        if processor is None:
            return 0
        return len(processor.scheduler.active_requests) + len(processor.scheduler.waiting_requests)

    def submit(
        self,
        request_id: str,
        prompt: Sequence[int],
        row: Row,
        *,
        most: int,
        end_ids: Sequence[int],
        heard: Callable[[Any], None],
        head: int = 0,
        salt: bytes = b"",
    ) -> Member:
        """Puts a request into the batch; `heard` is called on the running event loop with each of its outputs.

        Raises:
            Unavailable: the batch has stopped; Died where that was not asked for.
        """
        self.register_result_handler(request_id, heard)
        return self.enter(request_id, prompt, row, most=most, end_ids=end_ids, head=head, salt=salt)

    def enter(
        self,
        request_id: str,
        prompt: Sequence[int],
        row: Row,
        *,
        most: int,
        end_ids: Sequence[int],
        head: int = 0,
        salt: bytes = b"",
    ) -> Member:
        """The same without an event loop: the outputs go where `get_result` finds them."""
        member = self._members[request_id] = Member(row, head, salt)
        added = self.add_request(
            list(prompt), request_id, max_new_tokens=most, streaming=True, eos_token_id=list(end_ids)
        )
        if added is None:
            raise self.failure("the batch has stopped")
        return member

    def failure(self, why: str) -> Unavailable:
        """What a request raises that fails: Died when the batch will answer no other one either."""
        if self.died:
            return Died(why)
        return TooLarge(why) if _OUT_OF_MEMORY in why else Unavailable(why)

    def drop(self, request_id: str) -> None:
        """Takes the request out before the next step, and forgets it."""
        self._members.pop(request_id, None)
        self._tried.discard(request_id)
        self.cancel_request(request_id)
        self._dropped.add(request_id)

    def switch_to_cb_friendly_attn(self, model: Any, auto_switch_to_flash: bool = True) -> None:
        if self._attention is None:
            super().switch_to_cb_friendly_attn(model, auto_switch_to_flash)
        elif model.config._attn_implementation != self._attention:
            self._original_attn_impl = model.config._attn_implementation
            model.set_attn_implementation(self._attention)

    def _create_batch_processor(self) -> ContinuousBatchProcessor:
        processor = super()._create_batch_processor()
        planned = self._attention == attention.RECTANGLES
        if planned:
            _reach_from_everywhere(processor.cache)
        _share_by_salt(processor.cache, self._salted)
        if not isinstance(processor.model_runner, _SamplingRunner):
            processor.model_runner = _SamplingRunner(processor, self._sampler, self._members, planned)
        return processor

    def _salted(self, request_id: str, ids: Sequence[int]) -> list[int]:
        """As the cache is to know them. What was dropped in this very step shares nothing with anybody."""
        member = self._members.get(request_id)
        return salted(ids, 0, secrets.token_bytes(16)) if member is None else salted(ids, member.head, member.salt)

    def _generation_loop_body(self, batch_processor: ContinuousBatchProcessor, bootstrapping: bool) -> bool:
        dropped = set(self._dropped)
        try:
            goes_on = super()._generation_loop_body(batch_processor, bootstrapping)
            # The library keeps the handlers of cancelled requests; without one, a last output would stay for ever.
            for request_id in dropped:
                self.output_router.result_handlers.pop(request_id, None)
            self._dropped -= dropped
            self._recover(batch_processor, len(dropped))
            return goes_on
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        self._lacked(batch_processor)
        return True

    def _handle_critical_error(self, error: Exception, batch_processor: ContinuousBatchProcessor | None) -> None:
        self.died = True
        super()._handle_critical_error(error, batch_processor)

    def _lacked(self, processor: ContinuousBatchProcessor) -> None:
        """There was no memory for this step: nobody fails for it who was not tried alone, in the smallest steps.

        The largest request is, before the others go on. They are read again behind it.
        """
        ios: Any = processor.inputs_and_outputs
        states = [request.state for request in ios.requests_in_batch]
        if not states:
            raise MemoryError(_OUT_OF_MEMORY)
        largest = max(states, key=lambda state: len(state.initial_tokens) + len(state.generated_tokens))
        alone = len(states) == 1
        if alone and processor.max_batch_tokens <= _LEAST_TOKENS:
            self._fail(processor, largest)
        else:
            _read_again(processor, first=largest)
            if alone:
                processor.max_batch_tokens = max(_LEAST_TOKENS, processor.max_batch_tokens // 2)
                self._calm = 0
            elif largest.request_id in self._tried:
                self._limit.shrink(len(states))
            else:
                self._tried.add(largest.request_id)
                self._trial = largest.request_id, len(states)
        processor.scheduler.max_requests_per_batch = 1 if self._trial else self._limit.value
        log.warning(
            "out of memory with %d requests in a step: %d requests and %d tokens may be in the next",
            len(states),
            processor.scheduler.max_requests_per_batch,
            processor.max_batch_tokens,
        )
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _fail(self, processor: ContinuousBatchProcessor, state: RequestState) -> None:
        """This request is too large by itself: that is what the memory lacked for, so that nobody has less for it."""
        processor.scheduler.finish_request(state.request_id)
        processor._handle_request_error(MemoryError(f"{_OUT_OF_MEMORY}, alone"), state)
        self._trial = None
        self._limit.restore()
        processor.max_batch_tokens = processor.cache.max_batch_tokens

    def _recover(self, processor: ContinuousBatchProcessor, ended: int) -> None:
        """Ends a trial that has its verdict; gives back what was taken as requests end."""
        scheduler = processor.scheduler
        if self._trial is not None:
            request_id, together = self._trial
            state = scheduler.active_requests.get(request_id)
            if state is not None and state.generated_tokens:
                self._trial = None
                self._limit.shrink(together)
            elif state is None and request_id not in scheduler.waiting_requests:
                self._trial = None
        for _ in range(ended):
            self._limit.good()
        self._calm += ended
        if self._calm >= _CALM:
            self._calm = 0
            processor.max_batch_tokens = min(processor.max_batch_tokens * 2, processor.cache.max_batch_tokens)
        scheduler.max_requests_per_batch = 1 if self._trial else self._limit.value


class _SamplingRunner(ModelRunner):
    """The library's forward pass; then our sampler, outside of what is captured in a CUDA graph."""

    def __init__(
        self, processor: ContinuousBatchProcessor, sampler: Sampler, members: dict[str, Member], planned: bool
    ) -> None:
        super().__init__(
            logit_processor=processor.logit_processor,
            cb_config=processor.cb_config,
            inputs_and_outputs=processor.inputs_and_outputs,
            cache=processor.cache,
            do_sample=False,
            return_logprobs=False,
        )
        self._sampler = sampler
        self._members = members
        self._planned = planned
        self._logits: Tensor | None = None
        self._ios: Any = processor.inputs_and_outputs

    def compute_batch(self, model: Any, batch_data: dict[str, Any]) -> None:
        batch = self._ios.requests_in_batch
        self._note_cached(batch)
        stream = self.inputs_and_outputs.compute_stream
        if stream is not None:
            # The batch's tensors were filled on the stream of this thread, for which the other would not wait.
            stream.wait_stream(torch.get_device_module(stream.device).current_stream(stream.device))
        if self._planned:
            with stream_context(stream):
                self._plan(batch, batch_data)
        super().compute_batch(model, batch_data)
        with stream_context(stream):
            self._choose([request.state for request in batch if request.has_new_token])
        for request in batch:
            member = self._members.get(request.state.request_id)
            if member is not None and not request.has_new_token:
                member.reads()

    def _sample(self, scores: Tensor, output_ids: Tensor) -> None:
        """Only keeps the logits: at the same address for every replay of a graph that writes them."""
        if not self.pad_inputs:
            self._logits = scores[0]
            return
        if self._logits is None:
            self._logits = torch.empty_like(scores[0, :1]).repeat(self.cb_config.max_requests_per_batch or 1, 1)
        self._logits[: scores.shape[1]].copy_(scores[0])

    def _note_cached(self, batch: Sequence[FutureRequestState]) -> None:
        for request in batch:
            member = self._members.get(request.state.request_id)
            if member is not None and member.cached is None:
                member.cached = request.state.position_offset - request.query_length

    def _plan(self, batch: Sequence[FutureRequestState], batch_data: dict[str, Any]) -> None:
        queries = [request.query_length for request in batch]
        keys = [request.state.position_offset for request in batch]
        plan = attention.plan(queries, keys, torch.device(self.cache.device))
        read = batch_data["read_index"]
        if read[0].numel():
            batch_data["read_index"] = [index[plan.read] for index in read]
        batch_data["plan"] = plan

    def _choose(self, states: Sequence[RequestState]) -> None:
        if not states or self._logits is None:
            return
        members = [self._members.get(state.request_id) for state in states]
        # A request that was dropped in this very step is still in the batch; its token goes nowhere.
        wanted = [at for at, member in enumerate(members) if member is not None]
        if not wanted:
            return
        logits = self._logits[: len(states)]
        tokens = self._sampler.choose(
            logits if len(wanted) == len(states) else logits[wanted],
            [member.row for member in members if member is not None],
            # What was read until now is the position of the next token.
            [states[at].position_offset for at in wanted],
        )
        places = slice(len(states)) if len(wanted) == len(states) else torch.tensor(wanted)
        self.inputs_and_outputs.output_ids[0, places] = tokens.to(torch.int32)


def _share_by_salt(cache: Any, salted: Callable[[str, Sequence[int]], list[int]]) -> None:
    """Lets pages be found again by their salted tokens; a cache that was salted before stays as it is."""
    if getattr(cache, "is_salted", False):
        return
    cache.is_salted = True
    search = cache.search_prefix_match
    cache.search_prefix_match = lambda request_id, ids: search(request_id, salted(request_id, ids))
    for allocator in cache.cache_allocators.values():
        mark = allocator.mark_complete_blocks
        allocator.mark_complete_blocks = partial(_mark_salted, mark, salted)


def _mark_salted(
    mark: Callable[[str, list[int], int], None],
    salted: Callable[[str, Sequence[int]], list[int]],
    request_id: str,
    token_ids: list[int],
    new_new_blocks: int,
) -> None:
    mark(request_id, salted(request_id, token_ids), new_new_blocks)


def _reach_from_everywhere(cache: PagedAttentionCache) -> None:
    """Lets layers on other devices than the cache use it; what they read is moved to them in every step."""
    update = cache.update

    def moved(keys: Tensor, values: Tensor, layer: int, *, kwargs: dict[str, Any]) -> tuple[Tensor, Tensor]:
        here = keys.device
        if here == cache.device:
            found: tuple[Tensor, Tensor] = update(keys, values, layer, kwargs=kwargs)
            return found
        for name in ("read_index", "write_index"):
            kwargs[name] = [index.to(cache.device) for index in kwargs[name]]
        keys, values = update(keys.to(cache.device), values.to(cache.device), layer, kwargs=kwargs)
        return keys.to(here), values.to(here)

    cache.update = moved


def _read_again(processor: ContinuousBatchProcessor, *, first: RequestState) -> None:
    """Puts all that is under way back to where those wait that are to be read, `first` before all."""
    scheduler = processor.scheduler
    for state in list(scheduler.active_requests.values()):
        scheduler.finish_request(state.request_id)
        scheduler.add_waiting_request(state.create_equivalent_initial_request())
        state._status = RequestStatus.FINISHED
    scheduler.waiting_requests_order.remove(first.request_id)
    scheduler.waiting_requests_order.appendleft(first.request_id)
