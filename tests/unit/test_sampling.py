"""The sampler against transformers' own logits processors, by what it draws."""

from typing import Any

import pytest
import torch
from transformers import (
    LogitsProcessorList,
    MinNewTokensLengthLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from inference.api import Sampling
from inference.engines.transformers.sampling import Row, Sampler, _mixed

DRAWS = 20_000
PROMPT = [3, 5, 5, 8]
END = [7, 9]


def likelihood(counts: torch.Tensor, wanted: torch.Tensor) -> float:
    """The p-value of Pearson's chi-square test of some counts against their probabilities."""
    hoped = wanted.double() / wanted.sum() * counts.sum()
    statistic = ((counts - hoped) ** 2 / hoped).sum()
    return float(torch.special.gammaincc(torch.tensor((len(counts) - 1) / 2).double(), statistic / 2))


def expected(logits: torch.Tensor, sampling: Sampling, said: list[int]) -> torch.Tensor:
    """What transformers would draw from, float32 [vocabulary]."""
    processors = LogitsProcessorList()
    if sampling.repetition_penalty != 1:
        processors.append(RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
    if sampling.min_new_tokens:
        processors.append(MinNewTokensLengthLogitsProcessor(len(PROMPT), sampling.min_new_tokens, END, device="cpu"))
    processors.append(TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k:
        processors.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        processors.append(TopPLogitsWarper(sampling.top_p))
    ids: Any = torch.tensor([PROMPT + said])
    return torch.softmax(processors(ids, logits.clone()[None]), -1)[0]


def drawn(logits: torch.Tensor, sampling: Sampling, said: list[int], draws: int = DRAWS) -> torch.Tensor:
    """How often each token comes, with one seed for each draw."""
    sampler = Sampler(end_ids=END)
    settings = {name: getattr(sampling, name) for name in sampling.__dataclass_fields__}
    rows = [Row(Sampling(**settings | {"seed": seed}), PROMPT, room=20) for seed in range(draws)]
    for token in said:
        forced = torch.full((draws, len(logits)), -100.0)
        forced[:, token] = 1000.0
        assert sampler.choose(forced, rows, [len(PROMPT)] * draws).eq(token).all()
    tokens = sampler.choose(logits.expand(draws, -1).clone(), rows, [len(PROMPT) + len(said)] * draws)
    return torch.bincount(tokens, minlength=len(logits))


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 1.0, "top_p": 1.0},
        {"temperature": 0.5, "top_p": 1.0},
        {"temperature": 1.0, "top_p": 0.8},
        {"temperature": 0.8, "top_p": 1.0, "top_k": 5},
        {"temperature": 1.3, "top_p": 0.9, "top_k": 12},
        {"temperature": 0.9, "top_p": 0.95, "repetition_penalty": 1.4},
        {"temperature": 0.9, "top_p": 1.0, "repetition_penalty": 0.7},
        {"temperature": 1.0, "top_p": 0.9, "min_new_tokens": 9},
        {"temperature": 1.0, "top_p": 0.01},
    ],
    ids=str,
)
@pytest.mark.parametrize("said", [[], [2, 4]], ids=["first", "third"])
def test_tokens_come_as_often_as_transformers_says(settings: dict[str, float], said: list[int]) -> None:
    logits = torch.randn(40, generator=torch.Generator().manual_seed(1)) * 2
    sampling = Sampling(**settings)  # type: ignore[arg-type]
    wanted, counts = expected(logits, sampling, said), drawn(logits, sampling, said)
    assert not counts[wanted == 0].any()
    frequent = wanted * DRAWS >= 5
    if int(frequent.sum()) > 1:
        assert likelihood(counts[frequent], wanted[frequent]) > 1e-4
    assert int(counts[~frequent].sum()) < 5 * int((~frequent).sum()) + 5


@pytest.mark.parametrize("settings", [{"top_p": 0.9}, {"top_p": 0.999}, {"top_p": 1.0}, {"top_p": 0.99, "top_k": 700}])
def test_large_and_flat_vocabularies_are_drawn_from_in_full(settings: dict[str, float]) -> None:
    logits = torch.randn(4000, generator=torch.Generator().manual_seed(2))
    sampling = Sampling(temperature=1.5, **settings)  # type: ignore[arg-type]
    wanted, counts = expected(logits, sampling, []), drawn(logits, sampling, [], 4000)
    # Sums in another order move the edge of the nucleus by a token.
    assert int(counts[wanted == 0].sum()) <= 4
    groups = torch.arange(4000) % 10
    grouped = [torch.zeros(10).index_add(0, groups, values.float()) for values in (counts, wanted)]
    assert likelihood(*grouped) > 1e-4
    assert int((counts > 0).sum()) > 400


def test_who_may_draw_any_token_needs_no_order() -> None:
    """A top_k of the whole vocabulary leaves as much, and is looked for among the likeliest."""
    logits = torch.randn(64, 3000, generator=torch.Generator().manual_seed(5))
    logits[:, ::7] = -torch.inf
    rows = [
        [Row(Sampling(temperature=1.2, top_p=1.0, top_k=top_k, seed=at), PROMPT, room=9) for at in range(64)]
        for top_k in (0, 3000)
    ]
    mixed = [rows[at % 2][at] for at in range(64)]
    chosen = [Sampler().choose(logits.clone(), each, [7] * 64).tolist() for each in (*rows, mixed)]
    assert chosen[0] == chosen[1] == chosen[2]
    assert len(set(chosen[0])) > 50


def test_ties_at_the_edge_of_top_k_stay() -> None:
    logits = torch.zeros(200)
    logits[:3] = 1.0
    counts = drawn(logits, Sampling(temperature=1.0, top_p=1.0, top_k=5), [], 4000)
    assert int((counts > 0).sum()) > 190


def test_what_others_ask_for_changes_nothing() -> None:
    generator = torch.Generator().manual_seed(3)
    settings = [
        Sampling(temperature=0.7, top_p=0.9, seed=1),
        Sampling(temperature=0),
        Sampling(temperature=1.4, top_p=1.0, seed=1, repetition_penalty=1.3),
        Sampling(temperature=1.0, top_k=3, seed=5, presence_penalty=1.0),
    ]
    logits = torch.randn(4, 3000, generator=generator)
    sampler = Sampler(end_ids=END)

    def choose(order: list[int], position: int) -> dict[int, int]:
        rows = [Row(settings[at], PROMPT, room=9) for at in order]
        tokens = sampler.choose(logits[order].clone(), rows, [position] * len(order))
        return dict(zip(order, tokens.tolist(), strict=True))

    together = choose([0, 1, 2, 3], 9)
    assert together == choose([3, 1, 0, 2], 9)
    assert together == {at: choose([at], 9)[at] for at in range(4)}
    assert together != choose([0, 1, 2, 3], 10)


def test_presence_is_counted_in_the_answer_alone() -> None:
    sampler = Sampler()
    row = Row(Sampling(temperature=0, presence_penalty=1.5), [1, 1], room=5)
    logits = torch.tensor([[1.0, 2.0, 0.0]])
    assert sampler.choose(logits.clone(), [row], [2]).tolist() == [1]
    assert sampler.choose(logits.clone(), [row], [3]).tolist() == [0]
    continued = Row(Sampling(temperature=0, presence_penalty=1.5), [1, 1], said=[1], room=5)
    assert sampler.choose(logits.clone(), [continued], [2]).tolist() == [0]


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("temperature", [0, 1.0])
def test_logits_that_are_no_numbers_spoil_their_row_alone(bad: float, temperature: float) -> None:
    logits = torch.randn(3, 50, generator=torch.Generator().manual_seed(4))
    rows = [Row(Sampling(temperature=temperature, seed=at), PROMPT, room=5) for at in range(3)]
    clean = Sampler().choose(logits.clone(), rows, [4] * 3).tolist()
    logits[1] = bad
    assert Sampler().choose(logits, rows, [4] * 3).tolist() == [clean[0], 50, clean[2]]


def test_ids_that_must_never_come_do_not() -> None:
    logits = torch.zeros(1, 6)
    logits[0, 5] = 9.0
    rows = [Row(Sampling(temperature=0), PROMPT, room=5)]
    assert Sampler(never=[5]).choose(logits, rows, [4]).tolist() != [5]


def test_without_a_seed_every_request_has_its_own() -> None:
    logits = torch.zeros(64, 1000)
    rows = [Row(Sampling(temperature=1.0, top_p=1.0), PROMPT, room=5) for _ in range(64)]
    assert len(set(Sampler().choose(logits, rows, [4] * 64).tolist())) > 40


def test_the_generator_is_splitmix() -> None:
    golden = 0x9E3779B97F4A7C15
    assert [_mixed(golden * n % 2**64) for n in (1, 2)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]
