"""When an engine counts as silent: simulated machines, no clock."""

from hypothesis import given
from hypothesis import strategies as st

from inference.failures.liveness import Liveness

SILENCE_S = 300.0


def read(tokens_per_s: float, prompts: list[int], step_tokens: int, deadline_s: float = 600.0) -> None:
    """A machine that reads one prompt after the other, in steps; it is looked at every five seconds."""
    liveness: Liveness[int] = Liveness(SILENCE_S)
    left = dict(enumerate(prompts))
    for number in left:
        liveness.waits(number, 0.0)
    now, steps, looked = 0.0, 0, 0.0
    while left and now < deadline_s:
        number = min(left)
        now += min(step_tokens, left[number]) / tokens_per_s
        steps += 1
        left[number] -= step_tokens
        while looked + 5 <= now:
            looked += 5
            assert not liveness.silent(looked)
            liveness.counted(steps, looked)
            if looked < deadline_s:
                assert liveness.stuck(looked) == []
        liveness.waits(number, now)
        if left[number] <= 0:
            liveness.ends(number)
            del left[number]


def test_20_tokens_a_second_are_enough_with_the_defaults() -> None:
    read(20.0, [4096] * 8, 256)


@given(
    tokens_per_s=st.floats(4, 5000),
    prompts=st.lists(st.integers(1, 4096), min_size=1, max_size=8),
    step=st.sampled_from([64, 256, 1024]),
)
def test_a_machine_whose_steps_are_within_the_limit_is_never_silent(
    tokens_per_s: float, prompts: list[int], step: int
) -> None:
    read(tokens_per_s, prompts, step)


def test_an_idle_hour_is_no_silence() -> None:
    liveness: Liveness[str] = Liveness(SILENCE_S)
    liveness.waits("a", 3600.0)
    assert not liveness.silent(3601.0)
    assert not liveness.silent(3899.0)
    assert liveness.silent(3900.0)


def test_work_for_others_keeps_the_engine_and_ends_only_the_wait_that_lasts_too_long() -> None:
    liveness: Liveness[str] = Liveness(SILENCE_S)
    liveness.waits("quiet", 0.0)
    for second in range(0, 600, 10):
        liveness.waits("lively", float(second))
        liveness.counted(second, float(second))
        assert not liveness.silent(float(second))
        assert liveness.stuck(float(second)) == []
    assert liveness.stuck(600.0) == ["quiet"]


def test_a_check_that_passes_ends_the_waits_that_are_as_old_as_the_silence() -> None:
    liveness: Liveness[str] = Liveness(SILENCE_S)
    liveness.waits("old", 0.0)
    liveness.waits("new", 200.0)
    assert liveness.silent(300.0)
    assert liveness.passed(300.0) == ["old"]
    assert not liveness.silent(301.0)
    liveness.ends("old")
    assert liveness.all() == ["new"]
