"""A person's settings: what people write, what is stored, what it means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.profile.preferences import PRESETS, Profile, SettingBounds, UserError, change, settings_of

BOUNDS = SettingBounds()
SETTINGS = settings_of(BOUNDS)


@pytest.mark.parametrize(
    ("name", "written", "stored"),
    [
        ("temperature", "0.7", "0.7"),
        ("temperature", "0,7", "0.7"),
        ("temperature", " .5 ", "0.5"),
        ("temperature", "1", "1"),
        ("top_p", "0.10", "0.1"),
        ("max_tokens", "200", "200"),
        ("max_tokens", "200.0", "200"),
        ("max_tokens", "2e2", "200"),
        ("preset", "Creative", "creative"),
        ("seed", "0", "0"),
        ("seed", "4294967294", "4294967294"),
        ("seed", "OFF", "off"),
        ("stop", "END, ###", "END, ###"),
        ("stop", "off", "off"),
    ],
)
def test_what_people_write(name: str, written: str, stored: str) -> None:
    assert SETTINGS[name].parse(written) == stored


@pytest.mark.parametrize(
    ("name", "written", "words"),
    [
        ("temperature", "0", ["Temperature", "0.1 to 1", "“0”"]),
        ("temperature", "nan", ["0.1 to 1"]),
        ("temperature", "inf", ["0.1 to 1"]),
        ("temperature", "1e9", ["0.1 to 1", "1e9"]),
        ("temperature", "abc", ["0.1 to 1", "abc"]),
        ("temperature", "1,000,000", ["0.1 to 1"]),
        ("temperature", "", ["0.1 to 1"]),
        ("max_tokens", "9", ["10 to 500"]),
        ("max_tokens", "501", ["10 to 500"]),
        ("max_tokens", "99.5", ["whole number"]),
        ("preset", "wild", ["precise, balanced or creative"]),
        ("stop", "a,b,c,d,e", ["up to 4"]),
        ("seed", "-1", ["0 to 4294967294", "off"]),
    ],
)
def test_what_cannot_be_says_the_range_in_one_sentence(name: str, written: str, words: list[str]) -> None:
    with pytest.raises(UserError) as refusal:
        SETTINGS[name].parse(written)
    sentence = str(refusal.value)
    assert all(word in sentence for word in words), sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence


@pytest.mark.parametrize("written", ["1" * 1_000_000, "0." + "1" * 1_000_000, "a," * 500_000, " " * 1_000_000])
@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_what_is_far_too_long_is_not_even_read(name: str, written: str) -> None:
    with pytest.raises(UserError, match="too long for that"):
        SETTINGS[name].parse(written)


@given(st.sampled_from(sorted(SETTINGS)), st.text(max_size=40))
def test_any_text_is_a_value_or_a_sentence(name: str, text: str) -> None:
    said = ""
    try:
        stored = SETTINGS[name].parse(text)
    except UserError as refusal:
        said = str(refusal)
    assert len(said) < 250
    assert said or SETTINGS[name].parse(stored) == stored, "what is stored is read back as itself"


@given(st.dictionaries(st.sampled_from(sorted(SETTINGS)), st.text(max_size=20)))
def test_whatever_was_stored_makes_a_valid_sampling(stored: dict[str, str]) -> None:
    sampling = Profile(SETTINGS, stored, BOUNDS).sampling()
    assert 0.1 <= sampling.temperature <= 1
    assert 10 <= sampling.max_new_tokens <= 500


@given(st.floats(0.1, 1.0), st.floats(0.1, 1.0), st.integers(10, 500))
def test_every_allowed_value_arrives_in_the_sampling(temperature: float, top_p: float, max_tokens: int) -> None:
    written = {"temperature": f"{temperature:g}", "top_p": f"{top_p:g}", "max_tokens": str(max_tokens)}
    stored = {name: SETTINGS[name].parse(text) for name, text in written.items()}
    sampling = Profile(SETTINGS, stored, BOUNDS).sampling()
    assert sampling.temperature == pytest.approx(temperature, rel=1e-5)
    assert sampling.top_p == pytest.approx(top_p, rel=1e-5)
    assert sampling.max_new_tokens == max_tokens


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_temperature_and_top_p(name: str) -> None:
    stored = {key: value for key, value in change(SETTINGS["preset"], name).items() if value is not None}
    profile = Profile(SETTINGS, stored, BOUNDS)
    sampling = profile.sampling()
    assert (sampling.temperature, sampling.top_p) == PRESETS[name]
    assert profile["preset"] == name


def test_temperature_by_hand_is_custom() -> None:
    assert Profile(SETTINGS, {"temperature": "0.33"}, BOUNDS)["preset"] == "custom"


def test_the_default_is_forgotten_not_stored() -> None:
    assert change(SETTINGS["temperature"], "0.7") == {"temperature": None}


def test_lower_bounds_of_the_operator_hold_for_old_choices() -> None:
    strict = SettingBounds(max_tokens=100, default_max_tokens=100)
    profile = Profile(settings_of(strict), {"max_tokens": "400"}, strict)
    assert profile.sampling().max_new_tokens == 100


def test_only_what_shapes_an_answer_and_differs_is_told() -> None:
    chosen = {"temperature": "0.3", "thinking": "hide", "seed": "7"}
    assert Profile(SETTINGS, chosen, BOUNDS).changed() == (("temperature", "0.3"), ("seed", "7"))
