"""Tiny checkpoints with random weights and real tokenizers, so that the real loading code runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from inference.reasoning.formats import Format

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Like DeepSeek-R1-Distill: the prompt ends inside the reasoning, earlier turns lose theirs.
R1 = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] }}"
    "{% elif message['role'] == 'user' %}<｜User｜>{{ message['content'] }}"
    "{% else %}<｜Assistant｜>{{ message['content'].split('</think>')[-1] }}<｜end▁of▁sentence｜>{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<｜Assistant｜><think>\n{% endif %}"
)
_CHATML_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_R1_SPECIAL = ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>")
_R1_TAGS = ("<｜User｜>", "<｜Assistant｜>", "<think>", "</think>")
_WORDS = "the sea is wide and the word of a lighthouse keeper tells one sentence about what is write repeat "
WIDTH = 64


def chatml(folder: Path, **more: Any) -> Path:
    """A Llama with ChatML; it never ends a text by itself."""
    tokenizer = _tokenizer(_CHATML_SPECIAL, (), CHATML, eos_token="<|im_end|>")
    config = LlamaConfig(**_sizes(tokenizer) | more)
    return _saved(folder, LlamaForCausalLM(config), tokenizer)


def r1(folder: Path) -> Path:
    """A Qwen2 with the chat template of DeepSeek-R1's distilled models."""
    tokenizer = _tokenizer(_R1_SPECIAL, _R1_TAGS, R1, bos_token=_R1_SPECIAL[0], eos_token=_R1_SPECIAL[1])
    return _saved(folder, Qwen2ForCausalLM(Qwen2Config(**_sizes(tokenizer))), tokenizer)


def reasoning(folder: Path, format: Format, *, opened: bool) -> Path:
    """A Llama of that family; `opened`: its template begins the reasoning."""
    end = "{% if add_generation_prompt %}<|im_start|>assistant\n"
    template = f"{{# {' '.join(format.tokens)} #}}" + CHATML.replace(end, end + (format.opening if opened else ""))
    special = (*_CHATML_SPECIAL, *(format.tokens if format.control else ()))
    tags = () if format.control else format.tokens
    tokenizer = _tokenizer(special, tags, template, eos_token="<|im_end|>", additional_special_tokens=list(special))
    return _saved(folder, LlamaForCausalLM(LlamaConfig(**_sizes(tokenizer))), tokenizer)


def rewrite(folder: Path, *, ends: Sequence[int] | None = None, likely: int | None = None) -> None:
    """Gives a checkpoint other ids that end its texts, and one token that it always says."""
    model = LlamaForCausalLM.from_pretrained(folder)
    if ends is not None:
        model.generation_config.eos_token_id = list(ends)
    if likely is not None:
        model.lm_head.weight.data[likely, 0] = 50.0
    model.save_pretrained(folder)


def _sizes(tokenizer: Any) -> dict[str, Any]:
    return {
        # Padded, like most real ones: the last ids have no text.
        "vocab_size": len(tokenizer) + 24,
        "hidden_size": WIDTH,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": False,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "pad_token_id": None,
    }


def _saved(folder: Path, model: Any, tokenizer: Any) -> Path:
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data.normal_(0, 0.08, generator=generator)
    # The first dimension is the same for all tokens, so that the head can refuse one of them whatever was said.
    model.model.embed_tokens.weight.data[:, 0] = 4.0
    model.lm_head.weight.data[:, 0] = 0.0
    model.lm_head.weight.data[tokenizer.eos_token_id, 0] = -50.0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _tokenizer(special: Sequence[str], tags: Sequence[str], template: str, **named: Any) -> Any:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=list(special), initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    bpe.train_from_iterator([_WORDS] * 20, trainer)
    bpe.add_tokens([AddedToken(tag, normalized=False) for tag in tags])
    made: Any = PreTrainedTokenizerFast  # untyped
    return made(tokenizer_object=bpe, chat_template=template, **named)
