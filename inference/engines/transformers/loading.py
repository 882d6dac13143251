"""Loads a checkpoint and everything around it; torch, transformers and accelerate are first imported here."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, ContinuousBatchingConfig
from transformers.generation.continuous_batching.cache import group_layers_by_attn_type
from transformers.utils import logging as transformers_logging
from transformers.utils.import_utils import is_flash_attn_2_available, is_flash_attn_3_available

from inference.api import Sampling, Unavailable
from inference.checkpoints.location import Say, check_memory, folder_of, free_memory, weights_size
from inference.checkpoints.revisions import SNAPSHOTS, of_folder
from inference.engines.cache_salt import cache_salt
from inference.engines.transformers import attention
from inference.engines.transformers.batch import Member, SharedBatch
from inference.engines.transformers.options import TransformersOptions
from inference.engines.transformers.prompts import Prompts, TokenizedPrompt
from inference.engines.transformers.sampling import Row, Sampler
from inference.processes.cores import available_cores

log = logging.getLogger(__name__)

# Tokens in a page of the cache. Flash attention reads pages of the larger size; small ones waste less and share more.
_PAGE_FOR_FLASH = 256
_PAGE = 32
# In one step, on CPUs and on a GPU.
_BATCH_TOKENS = (256, 1024)
# Of a GPU, what is wanted for the cache before a model is spread over several.
_CACHE_SHARE = 0.15
_FULL_ATTENTION = "full_attention"


@dataclass(frozen=True)
class Loaded:
    """A model that is running.

    `hidden` are control tokens that are never shown; `vocabulary` is the size of the logits, and as a token stands for
    logits that are no numbers. `reference` and `revision`: see `ModelInfo`.
    """

    batch: SharedBatch
    prompts: Prompts
    tokenizer: Any
    end_ids: frozenset[int]
    hidden: frozenset[int]
    vocabulary: int
    context_tokens: int
    reference: str
    revision: str

    def decode(self, ids: list[int]) -> str:
        shown = [token for token in ids if token not in self.hidden]
        text: str = self.tokenizer.decode(shown, clean_up_tokenization_spaces=False)
        return text

    def submit(
        self,
        name: str,
        prompt: TokenizedPrompt,
        owner: str,
        sampling: Sampling,
        most: int,
        heard: Callable[[Any], None],
    ) -> Member:
        """Put a request into the batch. What of it is kept for later prompts is for this owner alone."""
        said = prompt.ids[len(prompt.ids) - prompt.said :]
        row = Row(sampling, prompt.ids, said=said, room=most)
        # The one past the vocabulary ends a request whose logits are no numbers.
        ends = [*self.end_ids, self.vocabulary]
        salt = cache_salt(owner)
        return self.batch.submit(
            name, prompt.ids, row, most=most, end_ids=ends, heard=heard, head=prompt.head, salt=salt
        )

    def close(self) -> None:
        self.batch.stop(hard_stop=True)


def load(reference: str, options: TransformersOptions, say: Say = lambda text, share: None) -> Loaded:
    """Tells `say` what it is busy with. Raises Unavailable."""
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    if not torch.cuda.is_available():
        torch.set_num_threads(options.threads or available_cores())
    folder = folder_of(reference, say)
    say(f"loading {reference}: {weights_size(folder) / 1e9:.2f} GB of weights", None)
    check_memory(reference, weights_size(folder))
    tokenizer, model = _read(reference, folder)
    if options.adapter:
        model = _adapted(model, options.adapter, say)
    prompts = Prompts(tokenizer)
    config = model.config.get_text_config()
    context = _context(options, config, tokenizer)
    end_ids = _end_ids(model, tokenizer)
    # Vocabularies are padded to round numbers; an id without a text must not be chosen.
    gaps = set(range(config.vocab_size)) - set(tokenizer.get_vocab().values()) - end_ids
    batch = _started(model, options, context, Sampler(end_ids=sorted(end_ids), never=sorted(gaps)))
    return Loaded(
        batch=batch,
        prompts=prompts,
        # The other one is used in another thread.
        tokenizer=copy.deepcopy(tokenizer),
        end_ids=end_ids,
        hidden=frozenset(tokenizer.all_special_ids) - prompts.marks,
        vocabulary=config.vocab_size,
        context_tokens=context,
        reference=reference if folder.parent.name == SNAPSHOTS else folder.name,
        revision=of_folder(folder),
    )


def _read(reference: str, folder: Path) -> tuple[Any, Any]:
    began = time.monotonic()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        config = AutoConfig.from_pretrained(folder)
        # A quantised checkpoint says so itself, and accelerate places it.
        where = _device_map(folder)
        model = AutoModelForCausalLM.from_pretrained(
            folder, config=config, dtype=_dtype(folder, config), device_map=where
        )
    except torch.OutOfMemoryError as error:
        raise Unavailable(f"{reference} does not fit into the memory of the GPU: {error}") from error
    except ImportError as error:
        raise Unavailable(f"{reference} needs a library: pip install 'partyline[gpu]' ({error})") from error
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise Unavailable(f"{reference} cannot be loaded: {error}") from error
    log.info("%s is loaded on %s in %.0f s", reference, model.device, time.monotonic() - began)
    return tokenizer, model


def _device_map(folder: Path) -> Any:
    """On the first GPU alone where that has room for the weights and a cache; otherwise over all, and outside."""
    if not torch.cuda.is_available():
        return None
    free, whole = torch.cuda.mem_get_info(0)
    return {"": 0} if weights_size(folder) < free - _CACHE_SHARE * whole else "auto"


def _dtype(folder: Path, config: Any) -> Any:
    """As the checkpoint says; float32 on CPUs that compute with nothing shorter, where it fits."""
    quantised = getattr(config, "quantization_config", None) is not None
    short = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    if torch.cuda.is_available() or quantised or short:
        return "auto"
    return torch.float32 if 2 * weights_size(folder) < free_memory() else "auto"


def _adapted(model: Any, adapter: str, say: Say) -> Any:
    """The model with a LoRA adapter: added up where the weights are plain, beside them where they are quantised."""
    folder = folder_of(adapter, say)
    try:
        from peft import PeftModel

        if getattr(model.config, "quantization_config", None) is None:
            return PeftModel.from_pretrained(model, folder).merge_and_unload()
        model.load_adapter(str(folder))
    except ImportError as error:
        raise Unavailable("a LoRA adapter needs peft: pip install 'partyline[gpu]'") from error
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise Unavailable(f"the adapter {adapter} does not fit this model: {error}") from error
    return model


def _started(model: Any, options: TransformersOptions, context: int, sampler: Sampler) -> SharedBatch:
    flash = _has_flash(model)
    own_attention = not flash and _is_plain(model.config.get_text_config())
    graphs = flash or (own_attention and attention.fitting(model) == attention.PACKED)
    batching = _batching(options, context, model.device, flash=flash, graphs=graphs)
    what = (
        f"the cache for {options.slots} conversations of {context} tokens (inference.slots, inference.context_tokens)"
    )
    check_memory(what, _cache_size(model, batching))
    batch = SharedBatch(model, batching, sampler, own_attention=own_attention)
    try:
        with torch.inference_mode():
            batch.warmup()
            batch.start()
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise Unavailable(
            f"there is no memory for {options.slots} conversations of {context} tokens: lower "
            f"inference.slots or inference.context_tokens ({error})"
        ) from error
    return batch


def _batching(
    options: TransformersOptions, context: int, device: torch.device, *, flash: bool, graphs: bool
) -> ContinuousBatchingConfig:
    page = _PAGE_FOR_FLASH if flash else _PAGE
    pages = -(-context // page) * options.slots
    return ContinuousBatchingConfig(
        page_size=page,
        # A quarter more than can be in use holds what was said before, for the next turn.
        num_blocks=pages + pages // 4,
        max_batch_tokens=max(options.batch_tokens or _BATCH_TOKENS[device.type == "cuda"], options.slots),
        max_requests_per_batch=options.slots,
        use_cuda_graph=graphs,
        # The tokens of a step must be known before the next: penalties count them, and a Stop ends with the step.
        use_async_batching=False,
    )


def _cache_size(model: Any, batching: ContinuousBatchingConfig) -> int:
    """Bytes of keys and values of all pages."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    tokens = (batching.num_blocks or 0) * batching.page_size
    return int(2 * config.num_hidden_layers * heads * width * model.dtype.itemsize * tokens)


def _has_flash(model: Any) -> bool:
    """Whether the library will switch to an installed flash attention."""
    if not model._supports_flash_attn or not attention.suits_flash(model):
        return False
    available = (is_flash_attn_3_available, is_flash_attn_2_available)
    return any(is_available(kernels_fallback_ok=True) for is_available in available)


def _is_plain(config: Any) -> bool:
    """Whether every layer attends to everything before, without caps or sinks: what `attention` computes."""
    capped = getattr(config, "attn_logit_softcapping", None) is not None
    return set(group_layers_by_attn_type(config)) == {_FULL_ATTENTION} and not capped


def _context(options: TransformersOptions, config: Any, tokenizer: Any) -> int:
    trained = getattr(config, "max_position_embeddings", None) or options.context_tokens
    # Where a tokenizer sets no limit, it says a number with thirty digits.
    return int(min(options.context_tokens, trained, tokenizer.model_max_length))


def _end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Every id that anything in the checkpoint calls an end of text; some name one, some a list, some none."""
    ends: set[int] = set()
    for found in (model.generation_config.eos_token_id, model.config.eos_token_id, tokenizer.eos_token_id):
        ends |= set(found) if isinstance(found, list | tuple) else {found} if found is not None else set()
    return frozenset(ends)
