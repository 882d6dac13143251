"""Every setting of the program: a TOML file under the environment, read once at the start, frozen, checked."""

from __future__ import annotations

import contextlib
import json
import os
import tomllib
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo

PREFIX = "PARTYLINE_"
NESTED = "__"
DEFAULT_FILE = Path("partyline.toml")

# Names that people already have in their environment, and the settings that they mean.
PLAIN = {
    "DISCORD_TOKEN": ("discord", "token"),
    "DISCORD_API_BASE": ("discord", "api_base"),
    "DISCORD_GATEWAY_URL": ("discord", "gateway_url"),
    "TELEGRAM_TOKEN": ("telegram", "token"),
    "TELEGRAM_API_BASE": ("telegram", "api_base"),
    "TELEGRAM_FILE_BASE": ("telegram", "file_base"),
}


def _words(value: object) -> object:
    """In the environment a list is written with commas, or as JSON."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        with contextlib.suppress(ValueError):  # an address of IPv6 begins so, too
            return json.loads(value)
    return tuple(word.strip() for word in value.split(",") if word.strip())


def _ids(value: object) -> object:
    """Ids are numbers that some write without quotes."""
    words = _words(value)
    return tuple(str(word) for word in words) if isinstance(words, list | tuple) else words


def _weights(value: object) -> object:
    """In the environment they are written `telegram=2,telegram:4711=4`."""
    if not isinstance(value, str):
        return value
    pairs = [word.rpartition("=") for word in value.split(",") if word.strip()]
    return {name.strip(): weight for name, _, weight in pairs}


def _keys(value: object) -> object:
    """In the environment they are written `notebook=its key,report=its key`."""
    if not isinstance(value, str):
        return value
    pairs = [word.partition("=") for word in value.split(",") if word.strip()]
    return {name.strip(): key.strip() for name, _, key in pairs}


def _networks(value: tuple[str, ...]) -> tuple[str, ...]:
    for each in value:
        ip_network(each, strict=False)
    return value


Ids = Annotated[tuple[str, ...], BeforeValidator(_ids)]
Keys = Annotated[
    dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")], Annotated[SecretStr, Field(min_length=16)]],
    BeforeValidator(_keys),
]
Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
Networks = Annotated[tuple[str, ...], BeforeValidator(_words), AfterValidator(_networks)]
Share = Annotated[float, Field(ge=0.1, le=1.0)]
Weights = Annotated[dict[str, Annotated[float, Field(ge=0.01, le=100)]], BeforeValidator(_weights)]


class ConfigError(Exception):
    """The configuration cannot be used; `problems` are lines for the operator."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class InferenceSettings(_Section):
    """The engine and the queue before it. Lengths in tokens, times in seconds."""

    slots: int = Field(8, ge=1, le=256, description="requests decoded in one batch")
    context_tokens: int = Field(4096, ge=256, le=1_048_576, description="prompt and answer of one request")
    batch_tokens: int = Field(
        0, ge=0, le=8192, description="tokens of prompt in one step; 0 is 1024 for transformers on a GPU, otherwise 256"
    )
    threads: int = Field(0, ge=0, le=1024, description="0: one for each core")
    gpu_layers: int = Field(-1, ge=-1, le=10_000, description="layers on the GPU, -1: all")
    adapter: str = Field("", description="a LoRA adapter over the model; empty: none")
    max_waiting: int = Field(64, ge=1, le=100_000, description="places in the queue")
    max_waiting_per_person: int = Field(8, ge=1, le=100_000, description="of them for one person")
    max_active_per_person: int = Field(2, ge=1, le=256, description="slots of one person")
    weights: Weights = Field({}, description="shares that are not 1, of a person or of all on a platform")
    drain_s: float = Field(2.5, ge=0, le=3600, description="how long answers may go on at shutdown")
    deadline_s: float = Field(600.0, ge=1, le=86_400, description="from a request's arrival to its last token")
    silence_s: float = Field(60.0, ge=1, le=3600, description="a server that says nothing for so long has failed")
    hang_s: float = Field(300.0, ge=1, le=3600, description="an engine that says nothing for so long is restarted")
    api_key: SecretStr = Field(SecretStr(""), description="for the server that model names, where it wants a key")
    server_model: str = Field("", description="the model's name at that server, empty: the first it lists")
    captioner_device: str = Field("auto", min_length=1, description="auto, cpu, cuda:1, ...")
    captioner_batch: int = Field(16, ge=1, le=256, description="pictures looked at together")


class LimitSettings(_Section):
    """What people may choose, and what they get when they choose nothing."""

    max_tokens: int = Field(500, ge=10, le=32_768, description="the most that a person may set")
    thinking_budget: int = Field(1024, ge=0, le=131_072, description="tokens of reasoning before an answer")
    default_temperature: Share = Field(0.7, description="0.1 to 1.0")
    default_top_p: Share = Field(0.9, description="0.1 to 1.0")
    default_max_tokens: int = Field(500, ge=10, le=32_768, description="tokens of an answer")


class QuotaSettings(_Section):
    """How much one person may use on one day (UTC); 0 means as much as they like."""

    tokens: int = Field(0, ge=0, le=1_000_000_000, description="generated for one person on one day, 0: any number")
    captions: int = Field(0, ge=0, le=1_000_000, description="pictures of one person on one day, 0: any number")


class RetentionSettings(_Section):
    """For how many days things are kept; what is older is deleted in the background."""

    days: int = Field(0, ge=0, le=36_500, description="conversations and the page's posts, 0: until they are erased")
    usage_days: int = Field(400, ge=0, le=36_500, description="usage by person and day, 0: until it is erased")
    name_days: int = Field(90, ge=0, le=36_500, description="names of the page's people who stay away, 0: for ever")
    event_days: int = Field(30, ge=1, le=36_500, description="ids of answered events")


class ServeSettings(_Section):
    """`partyline serve`: the inference service for several bot processes."""

    host: str = Field("127.0.0.1", min_length=1, description="loopback unless you know who can reach you")
    port: int = Field(8081, ge=0, le=65_535, description="0: any free port")
    key: SecretStr = Field(SecretStr(""), description="key of your bots, empty: one is made and printed at each start")
    clients: Keys = Field({}, description="keys of other programs, by a name of yours; each is one owner in the queue")
    clients_with_users: Words = Field((), description="those of them that may name users of their own")
    hostnames: Words = Field((), description="names under which /metrics needs no key")
    max_request_mb: int = Field(32, ge=1, le=1024, description="the largest request body")
    read_s: float = Field(30.0, ge=1, le=3600, description="how long a request's body may take to arrive")


class WebSettings(_Section):
    """The local page."""

    enabled: bool = Field(False, description="serve the page")
    host: str = Field("127.0.0.1", min_length=1, description="loopback unless you know who can reach you")
    port: int = Field(8080, ge=0, le=65_535, description="0: any free port")
    hostnames: Words = Field((), description="further names of the page, such as a proxy's")
    password: SecretStr = Field(SecretStr(""), description="what whoever enters must know, empty: anybody may enter")
    open: bool = Field(False, description="listen beyond loopback without a password")
    proxies: Networks = Field((), description="addresses of proxies whose X-Forwarded-For and -Proto count")
    secret: SecretStr = Field(SecretStr(""), description="signs identities, empty: one in the database")
    new_guests: int = Field(300, ge=0, le=1_000_000, description="of one address in 10 minutes, 0: any number")


class DiscordSettings(_Section):
    token: SecretStr = Field(SecretStr(""), description="switches Discord on")
    api_base: str = Field("", description="empty: Discord's own")
    gateway_url: str = Field("", description="empty: Discord's own")
    dms: bool = Field(True, description="answer direct messages")
    guilds: Ids = Field((), description="ids of the only servers where it answers")
    channels: Ids = Field((), description="ids of the only channels, their threads included")
    roles: Ids = Field((), description="ids of roles, one of which a person on a server needs")
    listen: Ids = Field((), description="ids of channels and forums where it needs no mention")
    threads: bool = Field(False, description="answer a mention in a new thread")
    together_s: float = Field(0.5, ge=0, le=10, description="messages so close to each other are one")
    ping_after_s: float = Field(0.0, ge=0, le=86_400, description="mention the asker after answers this long, 0: never")


class TelegramSettings(_Section):
    """Updates come by long polling; with a `webhook_url`, Telegram's servers bring them to the listening port."""

    token: SecretStr = Field(SecretStr(""), description="switches Telegram on")
    api_base: str = Field("", description="empty: Telegram's own")
    file_base: str = Field("", description="empty: the one beside api_base")
    private_interval_s: float = Field(1.05, ge=0.01, le=60, description="between two calls in a private chat")
    group_interval_s: float = Field(3.1, ge=0.01, le=60, description="between two calls in a group, topics included")
    drafts: bool = Field(False, description="in private chats, show growing answers as drafts instead of by edits")
    files_dir: str = Field("", description="where a Bot API server that runs with --local keeps its files")
    webhook_url: str = Field("", description="https address that your proxy passes on, empty: long polling")
    webhook_host: str = Field("127.0.0.1", min_length=1, description="where the proxy finds the bot")
    webhook_port: int = Field(8443, ge=0, le=65_535, description="0: any free port")
    webhook_secret: SecretStr = Field(SecretStr(""), description="empty: a new one at each start")


class AccessSettings(_Section):
    """Who is served, on every platform: `telegram:4711` is a person, `telegram:-1001234` a chat."""

    owners: Words = Field((), description="always served, without a rate")
    allowed_users: Words = Field((), description="people who are no strangers")
    allowed_chats: Words = Field((), description="chats in which nobody is a stranger")
    strangers: Literal["auto", "answer", "refuse", "ignore"] = Field(
        "auto", description="auto (with owners or allowed_users: refuse direct messages), answer, refuse, ignore"
    )
    requests_per_minute: int = Field(60, ge=0, le=10_000, description="of one person, 0: any number")


class Settings(_Section):
    """All of it. Field names are the TOML file's keys; in the environment `web.port` is `PARTYLINE_WEB__PORT`."""

    model: str = Field("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", min_length=1, description="see docs/models.md")
    captioner: str = Field("Salesforce/blip-image-captioning-base", description="a BLIP checkpoint, empty: none")
    database: str = Field("partyline.sqlite3", min_length=1, description="a path or a PostgreSQL address")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="debug, info, warning, error")
    inference: InferenceSettings = InferenceSettings()
    limits: LimitSettings = LimitSettings()
    quotas: QuotaSettings = QuotaSettings()
    retention: RetentionSettings = RetentionSettings()
    serve: ServeSettings = ServeSettings()
    web: WebSettings = WebSettings()
    discord: DiscordSettings = DiscordSettings()
    telegram: TelegramSettings = TelegramSettings()
    access: AccessSettings = AccessSettings()


def load(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Reads `path` (or `partyline.toml` where there is one) and the environment on top of it.

    Raises:
        ConfigError: a file that is missing or no TOML, an unknown key, an impossible value.
    """
    values = _from_file(path)
    _merge(values, _from_environment(os.environ if environ is None else environ))
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError([_problem(detail) for detail in error.errors()]) from None


def _from_file(path: Path | None) -> dict[str, Any]:
    if path is None and not DEFAULT_FILE.is_file():
        return {}
    path = path or DEFAULT_FILE
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigError([f"{path} cannot be read: {error.strerror}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path} is not valid TOML: {error}"]) from None


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in environ.items():
        if name.startswith(PREFIX):
            _put(values, name.removeprefix(PREFIX).lower().split(NESTED), value)
    for name, keys in PLAIN.items():
        if environ.get(name):
            _put(values, list(keys), environ[name])
    return values


def _put(values: dict[str, Any], keys: list[str], value: str) -> None:
    for key in keys[:-1]:
        inner = values.setdefault(key, {})
        if not isinstance(inner, dict):
            raise ConfigError([f"{PREFIX}{key.upper()} is a section: set one of its keys"])
        values = inner
    values[keys[-1]] = value


def _merge(below: dict[str, Any], above: dict[str, Any]) -> None:
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            _merge(below[key], value)
        else:
            below[key] = value


def _problem(detail: Any) -> str:
    """One line: the setting's name, what is wrong, and what is allowed. Never the value of a secret."""
    keys = [str(key) for key in detail["loc"]]
    name = ".".join(keys)
    if detail["type"] == "extra_forbidden":
        known = ", ".join(sorted(_section(keys[:-1]).model_fields))
        return f"{name}: unknown setting; known ones here: {known}"
    field = _section(keys[:-1]).model_fields.get(keys[-1])
    allowed = allowed_range(field) if field is not None else ""
    return f"{name}: {detail['msg'].lower()}" + (f"; allowed: {allowed}" if allowed else "")


def _section(keys: list[str]) -> type[BaseModel]:
    section: type[BaseModel] = Settings
    for key in keys:
        inner = section.model_fields[key].annotation if key in section.model_fields else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            break
        section = inner
    return section


def allowed_range(field: FieldInfo) -> str:
    """The bounds of a field in words; empty where any value will do."""
    if get_origin(field.annotation) is Literal:
        return ", ".join(map(str, get_args(field.annotation)))
    if field.annotation is bool:
        return "true, false"
    bounds = {name: getattr(item, name) for item in field.metadata for name in ("ge", "le") if hasattr(item, name)}
    if "ge" in bounds and "le" in bounds:
        return f"{bounds['ge']} to {bounds['le']}"
    return ""
