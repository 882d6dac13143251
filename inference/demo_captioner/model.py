"""The demo captioner's vocabulary, processor and BLIP configuration, and how a checkpoint of them is written."""

from pathlib import Path

import torch
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessorPil,
    BlipProcessor,
)

from inference.demo_captioner.palette import COLOURS
from inference.demo_captioner.scenes import GRADIENT, SHAPES

SIDE = 64  # pixels; what the processor makes of every picture
PATCH = 16  # pixels; large patches see whole corners, and learn shapes far sooner than small ones
HIDDEN = 256
MAX_TOKENS = 80  # prompt and caption together

PROMPTS: tuple[str, ...] = ("a picture of", "a photo of", "an image of", "there is", "this is", "i see")
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]")
_CAPTION_WORDS = "a an on background above to the left of"
# Words that people write before a caption or in its place; the model learns to caption after any of them.
_PROMPT_WORDS = (
    "photo picture image drawing photograph painting there is this i see it shows showing what in describe caption"
    " and with are can you we here me my that shape shapes color colour two below under right next large small big"
    " describe please only answer : ? . , ! '"
)


def vocabulary() -> dict[str, int]:
    """Every token and its id; the special ones come first, as in BERT."""
    text = " ".join([_CAPTION_WORDS, *COLOURS, *SHAPES, GRADIENT, *PROMPTS, _PROMPT_WORDS])
    words = sorted(set(text.split()))
    return {token: i for i, token in enumerate((*_SPECIAL, *words))}


def build_processor() -> BlipProcessor:
    """A tokenizer of `vocabulary` and an image processor that resizes to SIDE x SIDE."""
    tokenizer = BertTokenizer(vocab=vocabulary(), bos_token="[DEC]", model_max_length=MAX_TOKENS)
    tokenizer.padding_side = "right"
    return BlipProcessor(  # type: ignore[no-untyped-call]
        BlipImageProcessorPil(size={"height": SIDE, "width": SIDE}), tokenizer
    )


def build_config() -> BlipConfig:
    """A BLIP of about 5 M parameters whose token ids are those of `vocabulary`."""
    ids = vocabulary()
    vision = {
        "hidden_size": HIDDEN,
        "intermediate_size": 1024,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "image_size": SIDE,
        "patch_size": PATCH,
        "initializer_range": 0.06,  # about 1 / sqrt(hidden_size); the default of 1e-10 hardly trains
    }
    text = {
        "vocab_size": len(ids),
        "hidden_size": HIDDEN,
        "initializer_range": 0.06,
        "encoder_hidden_size": HIDDEN,
        "intermediate_size": 512,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": MAX_TOKENS,
        "bos_token_id": ids["[DEC]"],
        "eos_token_id": ids["[SEP]"],
        "sep_token_id": ids["[SEP]"],
        "pad_token_id": ids["[PAD]"],
    }
    return BlipConfig(vision_config=vision, text_config=text, projection_dim=HIDDEN, image_text_hidden_size=HIDDEN)


def build_model(seed: int) -> BlipForConditionalGeneration:
    """An untrained captioner, the same one for the same seed."""
    torch.manual_seed(seed)
    return BlipForConditionalGeneration(build_config())


def save(model: BlipForConditionalGeneration, processor: BlipProcessor, folder: Path) -> None:
    """Writes weights, configuration, tokenizer and processor.

    The weights are in float16, half of the size with no accuracy lost; the configuration keeps saying float32, so that
    they are loaded as such.
    """
    model.save_pretrained(folder, state_dict={name: values.half() for name, values in model.state_dict().items()})
    processor.save_pretrained(folder)
