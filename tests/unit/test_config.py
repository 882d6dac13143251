"""Settings: sources, errors that name the setting and its range, and secrets that stay secret."""

import tomllib
from pathlib import Path

import pytest

from adapters.check import report
from config.settings import ConfigError, Settings, load


def problems(environ: dict[str, str], path: Path | None = None) -> str:
    with pytest.raises(ConfigError) as error:
        load(path, environ)
    return "\n".join(error.value.problems)


def test_the_environment_lies_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text('model = "a.gguf"\n[web]\nport = 1\nhost = "::1"\n')
    settings = load(path, {"PARTYLINE_WEB__PORT": "2", "DISCORD_TOKEN": "s3cret"})
    assert (settings.model, settings.web.port, settings.web.host) == ("a.gguf", 2, "::1")
    assert settings.discord.token.get_secret_value() == "s3cret"


def test_a_list_in_the_environment_is_written_with_commas() -> None:
    assert load(None, {"PARTYLINE_WEB__HOSTNAMES": "a.lan, b.lan"}).web.hostnames == ("a.lan", "b.lan")


def test_a_list_in_the_environment_may_be_json() -> None:
    assert load(None, {"PARTYLINE_WEB__HOSTNAMES": '["a.lan", "b.lan"]'}).web.hostnames == ("a.lan", "b.lan")
    assert load(None, {"PARTYLINE_WEB__PROXIES": '["10.0.0.0/8"]'}).web.proxies == ("10.0.0.0/8",)
    assert load(None, {"PARTYLINE_DISCORD__GUILDS": "[12, 34]"}).discord.guilds == ("12", "34")
    assert load(None, {"PARTYLINE_WEB__HOSTNAMES": "[::1],a.lan"}).web.hostnames == ("[::1]", "a.lan")
    assert "web.hostnames" in problems({"PARTYLINE_WEB__HOSTNAMES": "[1]"})


def test_ids_may_be_written_as_numbers(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text('[discord]\nguilds = [12, "34"]\n')
    assert load(path, {"PARTYLINE_DISCORD__LISTEN": "5,6"}).discord.guilds == ("12", "34")


def test_weights_are_written_by_name(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text('[inference.weights]\ndiscord = 2\n"telegram:4711" = 4\n')
    assert load(path, {}).inference.weights == {"discord": 2.0, "telegram:4711": 4.0}
    environ = {"PARTYLINE_INFERENCE__WEIGHTS": "discord=0.5, telegram:4711=4"}
    assert load(None, environ).inference.weights == {"discord": 0.5, "telegram:4711": 4.0}
    for wrong in ("discord=0", "discord=many", "discord"):
        assert "inference.weights" in problems({"PARTYLINE_INFERENCE__WEIGHTS": wrong})


def test_default_toml_says_what_the_defaults_are() -> None:
    text = Path("config/default.toml").read_text()
    assert Settings.model_validate(tomllib.loads(text)) == Settings()
    assert set(_keys(tomllib.loads(text))) == set(_keys(Settings().model_dump()))


def test_example_env_is_all_known() -> None:
    lines = Path("config/example.env").read_text().splitlines()
    pairs = [(line.lstrip("# ").split("=")[0], line.split("=")[1]) for line in lines if "=" in line]
    settings = load(None, dict(pairs))
    assert settings.discord.token.get_secret_value()


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"PARTYLINE_WEB__PORT": "99999"}, ["web.port", "0 to 65535"]),
        ({"PARTYLINE_LIMITS__MAX_TOKENS": "5"}, ["limits.max_tokens", "10 to 32768"]),
        ({"PARTYLINE_LIMITS__DEFAULT_TEMPERATURE": "nan"}, ["limits.default_temperature", "0.1 to 1.0"]),
        ({"PARTYLINE_LOG_LEVEL": "loud"}, ["log_level", "debug, info, warning, error"]),
        ({"PARTYLINE_WEB__ENABLED": "perhaps"}, ["web.enabled", "true, false"]),
        ({"PARTYLINE_MODLE": "x"}, ["modle", "unknown", "model"]),
        ({"PARTYLINE_WEB__PROT": "1"}, ["web.prot", "unknown", "port"]),
        ({"PARTYLINE_WEB": "1"}, ["web"]),
        ({"PARTYLINE_WEB__PORT__X": "1"}, ["web.port"]),
    ],
)
def test_an_impossible_setting_is_named_with_its_range(environ: dict[str, str], words: list[str]) -> None:
    said = problems(environ)
    assert all(word in said for word in words), said


def test_a_file_that_is_not_there_or_no_toml(tmp_path: Path) -> None:
    assert "cannot be read" in problems({}, tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("= 3")
    assert "not valid TOML" in problems({}, tmp_path / "bad.toml")


def test_no_secret_is_ever_printed() -> None:
    environ = {
        "DISCORD_TOKEN": "s3cret",
        "PARTYLINE_DATABASE": "postgresql://ann:s3cret@db/partyline",
        "TELEGRAM_TOKEN": "s3cret",
    }
    settings = load(None, environ)
    lines, _ = report(settings)
    assert "s3cret" not in "\n".join(lines) + repr(settings).replace("ann:s3cret", "")
    assert "discord.token = (set)" in "\n".join(lines)
    assert "s3cret" not in problems({"PARTYLINE_DISCORD__TOKEN__X": "s3cret"})


def test_addresses_need_nothing_to_be_installed() -> None:
    for model in ("http://gpu:8000/v1,https://other/v1", "partyline+http://gpu:8081"):
        lines, missing = report(load(None, {"PARTYLINE_MODEL": model, "PARTYLINE_WEB__ENABLED": "true"}))
        assert not missing, lines
    lines, missing = report(load(None, {"PARTYLINE_MODEL": "partyline+gpu:8081"}))
    assert missing
    assert "no address" in "\n".join(lines)


def test_check_names_the_line_that_mends() -> None:
    lines, missing = report(load(None, {"PARTYLINE_MODEL": "nowhere.gguf", "PARTYLINE_CAPTIONER": ""}))
    text = "\n".join(lines)
    assert missing
    for line in ("PARTYLINE_MODEL=demo", "PARTYLINE_WEB__ENABLED=true", "PARTYLINE_CAPTIONER=demo"):
        assert f"    {line}" in text


def _keys(values: dict[str, object], prefix: str = "") -> list[str]:
    keys: list[str] = []
    for key, value in values.items():
        keys += _keys(value, f"{prefix}{key}.") if isinstance(value, dict) else [f"{prefix}{key}"]
    return keys
