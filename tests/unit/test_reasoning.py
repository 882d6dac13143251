"""The laws of splitting reasoning from answer, for every family of models."""

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.reasoning.formats import FORMATS, THINK, Format, format_of, named, opened_by
from inference.reasoning.prefix import handed_on, resume, text_of
from inference.reasoning.splitter import Part, Splitter, merged

FAMILIES = {format.name: format for format in FORMATS}
HARMONY = FAMILIES["harmony"]
# As the models of each family write reasoning and answer.
WRITTEN = {
    "think": "<think>\n{}\n</think>\n\n{}",
    "harmony": "<|channel|>analysis<|message|>{}<|end|><|start|>assistant<|channel|>final<|message|>{}",
    "harmony without marks": "analysisHm, {}assistantfinal{}",
    "magistral": "[THINK]{}[/THINK]{}",
    "gemma": "<|channel>thought\n{}<channel|>{}",
    "command": "<|START_THINKING|>{}<|END_THINKING|><|START_RESPONSE|>{}<|END_RESPONSE|>",
    "kimi": "◁think▷{}◁/think▷{}",
    "seed:think": "<seed:think>{}</seed:think>{}",
    "openthoughts": "<|begin_of_thought|>{}<|end_of_thought|><|begin_of_solution|>{}<|end_of_solution|>",
    "granite": "Here is my thought process: {}\n\nHere is my response: {}",
    "thinking": "<thinking>{}</thinking>\n{}",
    "thought": "<thought>{}</thought>\n{}",
    "reasoning": "<reasoning>{}</reasoning>\n{}",
}
FRAGMENTS = [
    *{mark for format in FORMATS for mark in (format.opening, format.closing, format.answer) if mark},
    *("<THINK>", "</Think>", "<|end|>", "<|start|>", "assistant", "<|channel|>commentary<|message|>", "<|return|>"),
    *(
        "<",
        "[",
        "◁",
        "think",
        ">",
        "\n",
        "```",
        "`",
        "~~~",
        " ",
        "words ",
        "é",
        "😀",
        "<think",
        "</",
        "<|",
        "<|channel",
    ),
]
TEXTS = st.lists(st.sampled_from(FRAGMENTS), max_size=30).map("".join)
KNOWN = st.sampled_from([None, *FORMATS])
INSIDE = st.sampled_from([True, False, None])


def split(
    text: str,
    cuts: list[int] | None = None,
    *,
    format: Format | None = None,
    inside: bool | None = False,
    orphans: bool = False,
) -> list[Part]:
    """The parts of a text that is fed in pieces cut at `cuts`."""
    splitter = Splitter(format, inside=inside, orphans=orphans)
    bounds = [0, *sorted(cuts or []), len(text)]
    parts = [part for a, b in pairwise(bounds) for part in splitter.feed(text[a:b])]
    parts += splitter.close()
    assert all(words for _, words in parts), "no part is empty"
    return merged(parts)


def apart(text: str, *, format: Format | None = None, inside: bool | None = False) -> tuple[str, str]:
    """(thinking, answer)."""
    parts = split(text, format=format, inside=inside)
    thinking = "".join(words for kind, words in parts if kind == "thinking")
    return thinking, "".join(words for kind, words in parts if kind == "answer")


@given(TEXTS, st.lists(st.integers(0, 400), max_size=30), KNOWN, INSIDE, st.booleans())
def test_how_the_text_is_cut_changes_nothing(
    text: str, cuts: list[int], format: Format | None, inside: bool | None, orphans: bool
) -> None:
    whole = split(text, format=format, inside=inside, orphans=orphans)
    assert split(text, [min(cut, len(text)) for cut in cuts], format=format, inside=inside, orphans=orphans) == whole
    assert split(text, list(range(len(text))), format=format, inside=inside, orphans=orphans) == whole


@given(TEXTS, KNOWN, INSIDE, st.booleans())
def test_nothing_is_lost_and_only_marks_and_blanks_are_taken_out(
    text: str, format: Format | None, inside: bool | None, orphans: bool
) -> None:
    parts = split(text, format=format, inside=inside, orphans=orphans)
    assert "".join(words for _, words in parts) == text
    assert sum(kind == "orphan" for kind, _ in parts) <= 1
    bare = "".join(words for kind, words in parts if kind in ("mark", "orphan"))
    for mark in sorted(FRAGMENTS, key=len, reverse=True):
        bare = bare.replace(mark, "")
    # A heading of harmony may hold more than a channel's name.
    assert not bare.strip() or format is HARMONY or "<|channel" in text or "analysis" in text or "<|start" in text


@given(st.text().filter(lambda text: not text.lstrip().startswith(("<", "[", "◁"))))
def test_an_answer_without_reasoning_is_left_alone(text: str) -> None:
    assert apart(text) == ("", text)


@pytest.mark.parametrize("name", WRITTEN)
class TestEveryFamily:
    """Opened by the model or by the template; unclosed, nested, in code; continued."""

    def test_opened_by_the_model(self, name: str) -> None:
        thinking, answer = apart(WRITTEN[name].format("hm *hm*", "the answer"), format=FAMILIES[name])
        assert thinking.strip().removeprefix("Hm, ") == "hm *hm*"
        assert answer == "the answer"

    def test_opened_by_the_model_of_a_family_that_is_not_known(self, name: str) -> None:
        written = WRITTEN[name].format("hm", "the answer")
        assert apart(written) == (apart(written, format=FAMILIES[name]) if FAMILIES[name].certain else ("", written))

    def test_opened_by_the_template(self, name: str) -> None:
        format = FAMILIES[name]
        written = WRITTEN[name].format("hm", "the answer")
        rest = written[written.index("hm") :]
        assert opened_by(f"<user>x<model>{format.opening}\n" if format.in_template else format.opening) == format
        thinking, answer = apart(rest, format=format, inside=True)
        assert (thinking.strip(), answer) == ("hm", "the answer")

    def test_opened_by_nobody_knows_whom(self, name: str) -> None:
        format = FAMILIES[name]
        written = WRITTEN[name].format("hm", "the answer")
        rest = written[written.index("hm") :]
        splitter = Splitter(format, inside=None)
        parts = [*splitter.feed(rest), *splitter.close()]
        assert [(kind, text.strip()) for kind, text in parts if kind != "mark"] == [
            ("thinking", "hm"),
            ("answer", "the answer"),
        ]
        assert splitter.closed_unopened
        assert apart("just an answer", format=format, inside=None) == ("", "just an answer")
        whole = apart(written, format=format, inside=None)
        assert whole == apart(written, format=format), "its own opening mark tells"

    def test_unclosed(self, name: str) -> None:
        written = WRITTEN[name].partition("{}")[0] + "never closed"
        splitter = Splitter(FAMILIES[name])
        parts = [*splitter.feed(written), *splitter.close()]
        assert splitter.thinking
        assert "".join(text for kind, text in parts if kind == "thinking").strip().endswith("never closed")
        assert not [text for kind, text in parts if kind == "answer"]

    def test_nested_and_twice(self, name: str) -> None:
        format = FAMILIES[name]
        before, middle, after = WRITTEN[name].split("{}")
        first = f"{before}{before}hm{middle}the answer{after}"
        assert apart(first, format=format)[1] == "the answer"
        second = f"{before}hm{middle}one\n{before}ho{middle}two{after}"
        thinking, answer = apart(second, format=format)
        assert "hm" in thinking
        assert "ho" in thinking
        assert answer.split() == ["one", "two"]
        if not format.control and not format.answers and name != "harmony without marks":
            nested = f"{before}outer\n{before}inner{middle}outer{middle}the answer{after}"
            thinking, answer = apart(nested, format=format)
            assert (thinking.count("outer"), answer) == (2, "the answer")

    def test_in_code_a_mark_is_text(self, name: str) -> None:
        format = FAMILIES[name]
        before, middle, after = WRITTEN[name].split("{}")
        code = f"say `{format.closing}` here\n\n```xml\nx{format.closing}\n{format.opening}\n```\nand on"
        thinking, answer = apart(f"{before}{code}{middle}{code}{after}", format=format)
        assert thinking.strip().removeprefix("Hm, ") == code
        assert answer == code
        assert apart(f"`{format.opening}` opens", format=format) == ("", f"`{format.opening}` opens")
        assert apart(f"```\n{format.opening}x\n```", format=format) == ("", f"```\n{format.opening}x\n```")

    def test_in_the_middle_of_an_answer_without_reasoning_a_mark_is_text(self, name: str) -> None:
        text = f"It opens so:\n{FAMILIES[name].opening}\nand closes so: {FAMILIES[name].closing}"
        assert apart(text) == ("", text)

    def test_it_goes_on_from_what_was_said(self, name: str) -> None:
        format = FAMILIES[name]
        if name == "harmony without marks":
            pytest.skip("a server that leaves marks out cannot be given any")
        opened = f"<model>{format.opening}\n"
        for prompt in ("<model>", opened):
            head = prompt.partition("<model>")[2]
            assert resume(prompt, "", format) == []
            for said, thinking, answer in (
                ("<think>hm", "hm", ""),
                ("<think>hm\n</think>\n\nThe", "hm", "The"),
                ("The", "", "The"),
                (handed_on("", ""), "", ""),
                (WRITTEN[name].split("{}")[0] + "hm", "hm", ""),
            ):
                whole = head + text_of(resume(prompt, said, format))
                splitter = Splitter(format)
                parts = [*splitter.feed(whole), *splitter.settle()]
                found = ["".join(text for kind, text in parts if kind == wanted) for wanted in ("thinking", "answer")]
                assert [text.strip() for text in found] == [thinking, answer], (prompt, said, whole)
                assert splitter.thinking == (said.endswith("hm"))

    def test_what_is_written_into_a_prompt_is_marked_as_the_models_own(self, name: str) -> None:
        format = FAMILIES[name]
        pieces = resume("<model>", f"<think>a {format.opening}\n</think>\n\nb", format)
        own = [piece.text for piece in pieces if piece.mark]
        assert own == [mark for mark in (format.opening, format.closing, format.answer) if mark]


@pytest.mark.parametrize(
    ("text", "inside", "thinking", "answer"),
    [
        ("<think>a</think>\n\nb", False, "a", "b"),
        ("\n <think>\na\n</think>b", False, "\na\n", "b"),
        ("<THINK>a</THINK>b", False, "a", "b"),
        ("a\n</think>\n\nb", True, "a\n", "b"),
        ("never closed", True, "never closed", ""),
        ("<think>never closed </thin", False, "never closed </thin", ""),
        ("Use the tag <think> in code", False, "", "Use the tag <think> in code"),
        ("```xml\n<think>x</think>\n```", False, "", "```xml\n<think>x</think>\n```"),
        ("<think>say `</think>` in code</think>b", False, "say `</think>` in code", "b"),
        ("<think>\n```\nprint('</think>')\n```\n</think>b", False, "\n```\nprint('</think>')\n```\n", "b"),
        ("<think>\n```\nunclosed fence\n</think>b", False, "\n```\nunclosed fence\n", "b"),
        ("<think></think>b </think> c", False, "", "b </think> c"),
        ("<think>a<think>b</think>c</think>d", False, "a<think>b</think>c", "d"),
        ("<think>a<think>b</think></think>d", False, "a<think>b</think>", "d"),
        ("<think>the tag <think> opens</think>d", False, "the tag <think> opens", "d"),
        ("<think>the tag `<think>` opens</think>d", False, "the tag `<think>` opens", "d"),
        ("<think>a</think><think>b</think>c", False, "ab", "c"),
        ("<think>a</think>b <think> c", False, "a", "b <think> c"),
        ("<think>a</think>b\n    <think> c", False, "a", "b\n    <think> c"),
        ("secret</think>answer", None, "secret", "answer"),
        ("\n</think>answer", None, "", "answer"),
        ("secret</think>answer", False, "", "secret</think>answer"),
    ],
)
def test_cases(text: str, inside: bool | None, thinking: str, answer: str) -> None:
    found = apart(text, inside=inside)
    assert (found[0].strip("\n") if text.startswith("\n</") else found[0], found[1]) == (thinking, answer)


@pytest.mark.parametrize(
    "text",
    [
        "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>commentary<|message|>b<|end|>"
        "<|start|>assistant<|channel|>final<|message|>answer<|return|>",
        "<|start|>assistant<|channel|>analysis<|message|>ab<|end|><|start|>assistant"
        "<|channel|>final <|constrain|>json<|message|>answer<|end|>",
        "<|channel|>analysis<|message|>ab<|channel|>final<|message|>answer",
    ],
)
@pytest.mark.parametrize("format", [None, HARMONY], ids=["unknown", "known"])
def test_no_control_token_of_harmony_is_ever_shown(text: str, format: Format | None) -> None:
    assert apart(text, format=format) == ("ab", "answer")
    assert apart("<|channel|>final<|message|>answer<|return|>", format=format) == ("", "answer")


def test_what_waits_for_a_closing_mark_is_an_answer_when_the_caller_wants_it() -> None:
    splitter = Splitter()
    assert splitter.feed("<think>the tag <think> opens</think>The answer") == [
        ("mark", "<think>"),
        ("thinking", "the tag <think> opens"),
    ]
    assert splitter.settle() == [("mark", "</think>"), ("answer", "The answer")]
    assert splitter.feed(" goes on") == [("answer", " goes on")]


def test_reasoning_that_was_cut_where_nobody_could_tell_is_reasoning() -> None:
    splitter = Splitter(inside=None)
    assert splitter.feed("first, ") == []
    assert splitter.thinking
    assert splitter.close(cut=True) == [("thinking", "first, ")]
    assert splitter.thinking


def test_blanks_before_reasoning_that_comes_by_another_way_are_no_answer() -> None:
    splitter = Splitter()
    assert splitter.feed("\n") == []
    assert splitter.enter() == [("mark", "\n")]
    assert splitter.feed("\n\n42") == [("mark", "\n\n"), ("answer", "42")]


@pytest.mark.parametrize("begun", ["[", "<", "<thi", "\n[TH", "<|"])
def test_the_first_letters_of_an_answer_are_kept_where_reasoning_comes_by_another_way(begun: str) -> None:
    splitter = Splitter()
    assert splitter.feed(begun) == []
    splitter.enter()
    parts = [*splitter.feed("1, 2]"), *splitter.close()]
    assert "".join(text for kind, text in parts if kind == "answer") == f"{begun.strip()}1, 2]"


def test_a_mark_is_one_where_reasoning_comes_by_another_way_within_it() -> None:
    splitter = Splitter()
    assert splitter.feed("<thi") == []
    assert splitter.enter() == []
    parts = merged([*splitter.feed("nk>more</think>42"), *splitter.close()])
    assert parts == [("mark", "<think>"), ("thinking", "more"), ("mark", "</think>"), ("answer", "42")]


@pytest.mark.parametrize("name", ["think", "THINK", "thinking", "seed:think", "reasoning"])
@pytest.mark.parametrize("brackets", ["<>", "[]"])
@pytest.mark.parametrize("size", [1, 4, 100])
def test_the_marks_of_any_family_may_stand_in_reasoning_that_is_kept_apart(name: str, brackets: str, size: int) -> None:
    opening, closing = brackets[0], brackets[1]
    if brackets == "[]" and name != "THINK":
        return
    text = f"\n{opening}{name}{closing}hm{opening}/{name}{closing}\n"
    splitter = Splitter(inside=True, apart=True)
    parts = [part for at in range(0, len(text), size) for part in splitter.feed(text[at : at + size])]
    shown = [
        (kind, said.strip()) for kind, said in merged([*parts, *splitter.close()]) if kind != "mark" and said.strip()
    ]
    assert shown == [("thinking", "hm")]


@pytest.mark.parametrize("apart", [False, True])
def test_a_mark_of_another_family_in_the_midst_of_reasoning_is_text(apart: bool) -> None:
    splitter = Splitter(inside=True, apart=apart)
    said = "hm, [THINK] and [/THINK] are Magistral's"
    assert merged([*splitter.feed(said), *splitter.close()]) == [("thinking", said)]


def test_reasoning_of_another_family_within_reasoning_does_not_end_it() -> None:
    splitter = Splitter()
    parts = [*splitter.feed("<think><thinking>a</thinking>b</think>42"), *splitter.close()]
    assert [text for kind, text in merged(parts) if kind == "answer"] == ["42"]


HOSTILE = {
    "<": "<" * 100_000,
    "[": "[" * 100_000,
    "blanks": " " * 100_000,
    "nested": "<think>" * 10_000 + "</think>" * 10_000 + "x",
    "nested with text": "<think>x" * 10_000 + "</think>" * 10_000 + "x",
    "headings": "<|channel|>" * 10_000,
    "headings that go on": "<think>" + "<|channel|>analysis" * 5_000,
    "in code on one line": "<think>" + "`</think>" * 11_001,
    "fences": "<think>a</think>" + "```\n<think>" * 10_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("inside", [False, None])
def test_hostile_texts_take_linear_time(text: str, inside: bool | None) -> None:
    def seconds(text: str) -> float:
        began = time.process_time()
        splitter = Splitter(HARMONY, inside=inside)
        for letter in text:
            splitter.feed(letter)
        splitter.close()
        return time.process_time() - began

    # Four times the text; if each letter cost what stands before it, it would be sixteen times the time.
    quarter = min(seconds(text[: len(text) // 4]) for _ in range(2))
    assert seconds(text) < 10 * quarter + 0.1


@pytest.mark.parametrize(
    ("template", "prompt", "tokens", "name", "reasons"),
    [
        ("…<think>…", "<｜Assistant｜><think>\n", {"<think>", "</think>"}, "think", True),
        ("…'<think>'…", "<|im_start|>assistant\n", {"<think>", "</think>"}, "think", True),
        # Instruct models whose template takes reasoning out of earlier turns.
        ("content.split('</think>')[-1] <think>", "<|im_start|>assistant\n", set(), None, False),
        # Tokens that the family shares, in a model that has none of their habit.
        ("plain", "<|im_start|>assistant\n", {"<think>", "</think>"}, None, False),
        # Thinking is switched off by the template.
        ("…<think>…", "assistant\n<think>\n\n</think>\n\n", {"<think>", "</think>"}, "think", False),
        ("<|channel|>", "<|start|>assistant", set(HARMONY.tokens), "harmony", True),
        ("[THINK]", "[/INST]", {"[THINK]", "[/THINK]"}, "magistral", True),
        ("<|channel>", "<|turn>model\n", {"<|channel>", "<channel|>"}, "gemma", True),
        ("<|channel>", "<|turn>model\n<|channel>thought\n<channel|>", {"<|channel>", "<channel|>"}, "gemma", False),
        ("x", "<|CHATBOT_TOKEN|>", {"<|START_THINKING|>", "<|END_THINKING|>"}, "command", False),
        ("x", "<|CHATBOT_TOKEN|><|START_THINKING|>", set(), "command", True),
        ("'Here is my thought process:'", "<|assistant|>", set(), "granite", False),
        ("x", "◁think▷", set(), "kimi", True),
        ("plain", "<|im_start|>assistant\n", set(), None, False),
    ],
)
def test_whether_a_model_reasons(template: str, prompt: str, tokens: set[str], name: str | None, reasons: bool) -> None:
    format, found = format_of(template, prompt, tokens.__contains__)
    assert (format.name if format else None, found) == (name, reasons)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("openai/gpt-oss-20b", "harmony without marks"),
        ("Magistral-Small-2509", "magistral"),
        ("Seed-OSS-36B-Instruct", "seed:think"),
        ("gemma-4-31B-it", "gemma"),
        ("gemma-3-4b-it", None),
        ("DeepSeek-R1-Distill-Qwen-1.5B", None),
    ],
)
def test_the_family_that_a_name_tells(model: str, name: str | None) -> None:
    format = named(model)
    assert (format.name if format else None) == name


@pytest.mark.parametrize("prompt", ["<｜Assistant｜><think>\n", "x<think>"])
def test_a_prefix_fits_a_template_that_opened_the_reasoning(prompt: str) -> None:
    assert opened_by(prompt) is THINK
    assert text_of(resume(prompt, "<think>\na</think>b")) == "a</think>b"
    assert text_of(resume(prompt, "answer")) == "\n</think>\n\nanswer"


def test_a_prefix_after_an_ordinary_template_is_itself() -> None:
    assert text_of(resume("<|im_start|>assistant\n", "<think>a</think>b")) == "<think>a</think>b"
