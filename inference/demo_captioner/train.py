"""Trains the demo captioner on pictures drawn on the way: `python -m inference.demo_captioner.train`.

Three stages: the vision tower on one shape, with targets for every patch; captions, mostly of one shape; captions,
mostly of two. The optimiser is Muon for the matrices inside the layers and AdamW for all else: after 250 steps of 128
the vision tower told 47 % of the shapes, with AdamW alone 26 %, hardly more than chance.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import BlipForConditionalGeneration, BlipProcessor

from inference.demo_captioner import CHECKPOINT
from inference.demo_captioner.drawing import Pictures, draw
from inference.demo_captioner.model import HIDDEN, PATCH, PROMPTS, SIDE, build_model, build_processor, save, vocabulary
from inference.demo_captioner.palette import COLOURS
from inference.demo_captioner.scenes import SHAPES

_GRID = SIDE // PATCH
_WORDS = [word for word in vocabulary() if not word.startswith("[")]
_KINDS = len(SHAPES) + 1  # of a patch: nothing, or one of the shapes
_COLOURS = len(COLOURS) + 1  # the last one is a gradient
_ROLES = 5  # of a patch: nothing or a lone shape, the upper, the lower, the left, the right one
_RELATIONS = 3  # one shape, above, to the left of
_RELATION = 5.0  # weight in the caption loss; a relation is one word of twelve and the hardest to learn
_MUON_RATE = 2.5e-3
_ADAM_RATE = 1e-3
_WARM_UP = 50  # steps
_FADE = 0.85  # share of the steps over which the rate falls to nothing; at a high rate shapes stay blurred


@dataclass(frozen=True)
class Stage:
    """A part of the curriculum: until which share of the steps, the share of two shapes, with captions or without."""

    until: float
    two: float
    captions: bool


CURRICULUM = (Stage(0.16, 0.0, False), Stage(0.3, 0.3, True), Stage(1.0, 0.65, True))


def stage_at(progress: float) -> Stage:
    """The stage at a share of the steps, 0 to 1."""
    return next((stage for stage in CURRICULUM if progress < stage.until), CURRICULUM[-1])


def rate_at(step: int, steps: int) -> float:
    """The learning rate as a share of its largest: a warm-up, a plateau, a linear fall."""
    return min(1.0, (step + 1) / _WARM_UP, (steps - step) / (_FADE * steps))


class TrainedCaptioner(nn.Module):
    """BLIP and, for training only, linear heads that say the shape, the colour and the role of patches.

    Which shape is above or to the left is a matter of two differences at once, which the captions alone teach slowly.
    The role of a shape needs only the way to the other one. Heads of the whole picture say its shape, if it has one,
    the relation, and where the shapes are.
    """

    def __init__(self, blip: BlipForConditionalGeneration, processor: BlipProcessor) -> None:
        super().__init__()
        self.blip = blip
        self.shape_head = nn.Linear(HIDDEN, _KINDS)
        self.colour_head = nn.Linear(HIDDEN, _COLOURS)
        self.role_head = nn.Linear(HIDDEN, _ROLES)
        self.relation_head = nn.Linear(HIDDEN, _RELATIONS)
        self.place_head = nn.Linear(HIDDEN, 4)
        self.picture_head = nn.Linear(HIDDEN, len(SHAPES))
        self.mean, self.std = (
            torch.tensor(values).view(1, 3, 1, 1)
            for values in (processor.image_processor.image_mean, processor.image_processor.image_std)
        )

    def pixel_values(self, pictures: Pictures) -> Tensor:
        """What the processor makes of the pictures: (n, 3, SIDE, SIDE) float32, normalised."""
        pixels = torch.from_numpy(pictures.pixels).permute(0, 3, 1, 2).float() / 255
        return (pixels - self.mean) / self.std

    def losses(self, pictures: Pictures, text: "TextBatch | None") -> dict[str, Tensor]:
        """The vision losses and, with text, the caption loss."""
        with torch.autocast("cpu", dtype=torch.bfloat16):
            seen = self.blip.vision_model(pixel_values=self.pixel_values(pictures)).last_hidden_state
            losses = {} if text is None else {"caption": self._caption_loss(seen, text)}
        seen = seen.float()
        cover = patch_cover(pictures)
        patches = seen[:, 1:]
        losses["patch shape"] = 3 * _soft_loss(self.shape_head(patches), shape_targets(pictures, cover))
        losses["patch colour"] = _soft_loss(self.colour_head(patches), colour_targets(pictures, cover))
        losses["patch role"] = 3 * _soft_loss(self.role_head(patches), role_targets(pictures, cover))
        single = torch.from_numpy(np.flatnonzero(pictures.scenes.count == 1))
        shape = torch.from_numpy(pictures.scenes.shape[:, 0])
        losses["place"] = 10 * functional.mse_loss(
            self.place_head(seen), place_targets(pictures).expand(*seen.shape[:2], 4)
        )
        relation = torch.from_numpy(pictures.scenes.relations())
        losses["relation"] = functional.cross_entropy(self.relation_head(seen[:, 0]), relation)
        losses["picture"] = functional.cross_entropy(self.picture_head(seen[single, 0]), shape[single])
        return losses

    def _caption_loss(self, seen: Tensor, text: "TextBatch") -> Tensor:
        """Cross-entropy in nats a token, with the one word in a caption that says the relation weighted _RELATION."""
        out = self.blip.text_decoder(input_ids=text.ids, attention_mask=text.mask, encoder_hidden_states=seen)
        logits, labels = out.logits[:, :-1].float().flatten(0, 1), text.labels[:, 1:].flatten()
        losses = functional.cross_entropy(logits, labels, ignore_index=-100, reduction="none")
        tells = (labels == vocabulary()["above"]) | (labels == vocabulary()["to"])
        weights = (labels != -100).float() + (_RELATION - 1) * tells.float()
        return (losses * weights).sum() / weights.sum()


def patch_cover(pictures: Pictures) -> Tensor:
    """Which share of each patch the background and the two shapes cover: (n, 3, patches) float32, 1 in sum."""
    n = len(pictures.masks)
    shapes = torch.from_numpy(pictures.masks).view(n, 2, _GRID, PATCH, _GRID, PATCH).mean((3, 5)).flatten(2)
    return torch.cat([1 - shapes.sum(1, keepdim=True), shapes], dim=1)


def shape_targets(pictures: Pictures, cover: Tensor) -> Tensor:
    """How much of each patch nothing and each shape covers: (n, patches, _KINDS) float32."""
    shape = torch.from_numpy(pictures.scenes.shape) + 1
    return _mixed(torch.cat([torch.zeros_like(shape[:, :1]), shape], dim=1), cover, _KINDS)


def colour_targets(pictures: Pictures, cover: Tensor) -> Tensor:
    """How much of each patch each colour covers, that of the background too: (n, patches, _COLOURS) float32."""
    scenes = pictures.scenes
    names = torch.from_numpy(np.concatenate([scenes.background[:, None], scenes.colour], axis=1))
    return _mixed(names, cover, _COLOURS)


def role_targets(pictures: Pictures, cover: Tensor) -> Tensor:
    """How much of each patch the shapes of each role cover: (n, patches, _ROLES) float32."""
    roles = torch.from_numpy(pictures.scenes.roles())
    return _mixed(torch.cat([torch.zeros_like(roles[:, :1]), roles], dim=1), cover, _ROLES)


def place_targets(pictures: Pictures) -> Tensor:
    """The middle of the shapes, x and y, and their distances, across and down: (n, 1, 4) float32 fractions.

    They vary smoothly with the picture, the order of the caption does not; the model finds the one by way of the other.
    """
    scenes = pictures.scenes
    centre = np.where((scenes.count == 1)[:, None, None], scenes.centre[:, :1], scenes.centre)
    middle, distance = centre.mean(axis=1), np.abs(centre[:, 1] - centre[:, 0])
    return torch.from_numpy(np.concatenate([middle, distance], axis=1)).unsqueeze(1)


def _mixed(labels: Tensor, cover: Tensor, kinds: int) -> Tensor:
    """Labels (n, 3) of the background and the shapes, mixed as they cover (n, 3, patches)."""
    return torch.einsum("nsp,nsk->npk", cover, functional.one_hot(labels, kinds).float())


def _soft_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy, in nats a patch, with a target of probabilities."""
    return functional.cross_entropy(logits.flatten(0, 1), target.flatten(0, 1))


@dataclass(frozen=True)
class TextBatch:
    """A batch of prompts and captions: int64 tensors of shape (n, length)."""

    ids: Tensor
    mask: Tensor
    labels: Tensor  # -100 where nothing is learnt: in prompts and in padding


def prompt_for(rng: np.random.Generator, longest: int) -> str:
    """What stands before a caption: mostly nothing, often one of PROMPTS, sometimes up to `longest` words at random."""
    kind = rng.random()
    if kind < 0.65:
        return ""
    if kind < 0.92:
        return PROMPTS[rng.integers(len(PROMPTS))]
    words = rng.integers(0, len(_WORDS), int(rng.integers(1, longest + 1)))
    return " ".join("[UNK]" if rng.random() < 0.4 else _WORDS[word] for word in words)


def text_batch(rng: np.random.Generator, processor: BlipProcessor, captions: list[str]) -> TextBatch:
    """Token ids as generation sees them: [DEC], the prompt, the caption, [SEP]."""
    tokenizer, ids = processor.tokenizer, vocabulary()
    # Long prompts make every row of a batch long: they come all together, in one batch of eight.
    longest = 32 if rng.random() < 1 / 8 else 6
    prompts = tokenizer([prompt_for(rng, longest) for _ in captions], add_special_tokens=False)["input_ids"]
    bodies = tokenizer(captions, add_special_tokens=False)["input_ids"]
    rows = [([ids["[DEC]"], *prompt], [*body, ids["[SEP]"]]) for prompt, body in zip(prompts, bodies, strict=True)]
    length = max(len(head) + len(tail) for head, tail in rows)
    gaps = [length - len(head) - len(tail) for head, tail in rows]
    padded = list(zip(rows, gaps, strict=True))
    return TextBatch(
        ids=torch.tensor([head + tail + [ids["[PAD]"]] * gap for (head, tail), gap in padded]),
        mask=torch.tensor([[1] * (length - gap) + [0] * gap for gap in gaps]),
        labels=torch.tensor([[-100] * len(head) + tail + [-100] * gap for (head, tail), gap in padded]),
    )


def whiten_patches(captioner: TrainedCaptioner, rng: np.random.Generator) -> None:
    """Starts the patch embedding as the principal components of drawn patches, each with the same variance.

    From a random start it sees little but the mean colour of a patch; the edges, which tell shapes, carry a hundredth
    of the variance.
    """
    embedding = captioner.blip.vision_model.embeddings.patch_embedding
    values = captioner.pixel_values(draw(rng, 2048, SIDE))
    patches = functional.unfold(values, PATCH, stride=PATCH).transpose(1, 2).flatten(0, 1)
    power, axes = torch.linalg.eigh(torch.cov(patches.T))
    width = embedding.out_channels
    power, axes = power[-width:], axes[:, -width:]
    weight = 0.1 * (axes / torch.sqrt(power + 0.01)).T
    with torch.no_grad():
        embedding.weight.copy_(weight.view_as(embedding.weight))
        embedding.bias.copy_(-weight @ patches.mean(0))  # type: ignore[union-attr]  # it has one


def optimizers(captioner: TrainedCaptioner) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for embeddings, heads, norms and biases."""
    named = {name: p for name, p in captioner.named_parameters() if p.requires_grad}
    matrices = [name for name, p in named.items() if p.ndim == 2 and ".layer" in name]
    rest = [p for name, p in named.items() if name not in set(matrices)]
    return [
        torch.optim.Muon(
            [named[name] for name in matrices], lr=_MUON_RATE, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(rest, lr=_ADAM_RATE, weight_decay=0.01, betas=(0.9, 0.95)),
    ]


@dataclass(frozen=True)
class Run:
    """How long to train, on how many pictures a step, and from where."""

    steps: int
    batch: int
    seed: int
    start: Path | None = None  # a checkpoint to go on from
    first: int = 0  # the steps that this checkpoint has behind it


def begin(run: Run, processor: BlipProcessor, rng: np.random.Generator) -> TrainedCaptioner:
    """The captioner before its first step: new, or from a checkpoint."""
    if run.start is None:
        captioner = TrainedCaptioner(build_model(run.seed), processor)
        whiten_patches(captioner, rng)
    else:
        blip = BlipForConditionalGeneration.from_pretrained(run.start, dtype=torch.float32)
        captioner = TrainedCaptioner(blip, processor)
    return captioner.train()


def train(run: Run) -> Iterator[tuple[int, dict[str, float], TrainedCaptioner, BlipProcessor]]:
    """Yields the losses and the captioner after every step."""
    rng = np.random.default_rng([run.seed, run.first])
    processor = build_processor()
    captioner = begin(run, processor, rng)
    optims = optimizers(captioner)
    rates = [optimizer.param_groups[0]["lr"] for optimizer in optims]
    for step in range(run.first, run.steps):
        stage = stage_at(step / run.steps)
        pictures = draw(rng, run.batch, SIDE, stage.two)
        text = text_batch(rng, processor, pictures.captions) if stage.captions else None
        losses = captioner.losses(pictures, text)
        total = sum(losses.values(), torch.zeros(()))
        total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(captioner.parameters(), 1.0)
        for optimizer, rate in zip(optims, rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate * rate_at(step - run.first, run.steps - run.first)
            optimizer.step()
            optimizer.zero_grad()
        yield step + 1, {name: loss.item() for name, loss in losses.items()}, captioner, processor


def main() -> None:
    """Reads the options, trains, prints a line now and then, and writes the checkpoint."""
    parser = argparse.ArgumentParser(description="Train the demo captioner; about 30 minutes on two idle cores.")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=128, help="pictures in a step")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2, help="1 is faster where other work wants the cores")
    parser.add_argument("--out", type=Path, default=CHECKPOINT)
    parser.add_argument("--start", type=Path, help="go on from this checkpoint")
    parser.add_argument("--first", type=int, default=0, help="the steps that it has behind it")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    run = Run(options.steps, options.batch, options.seed, options.start, options.first)
    started = time.monotonic()
    for step, losses, captioner, processor in train(run):
        if step % 50 == 0 or step == run.steps:
            print(progress(run, step, losses, time.monotonic() - started), flush=True)
        if step % 500 == 0 or step == run.steps:
            save(captioner.blip, processor, options.out)


def progress(run: Run, step: int, losses: dict[str, float], passed_s: float) -> str:
    """A line with the losses, the speed in pictures a second, and the minutes that are left."""
    done = step - run.first
    shown = "  ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
    left_s = passed_s / done * (run.steps - step)
    speed = done * run.batch / passed_s
    return f"step {step}/{run.steps}  {shown}  {speed:.0f} pictures/s  {left_s / 60:.1f} min left"


if __name__ == "__main__":
    main()
