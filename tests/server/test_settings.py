"""The settings: drawn from the code, strict, in an order of precedence, and shown without secrets."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatkit.errors import UsageError
from chatkit.protocol.rates import Rate
from chatkit.server import ServerConfig
from chatkit.server.settings import (
    DEFAULTS,
    HIDDEN,
    SETTINGS,
    ServeOptions,
    as_file,
    as_records,
    effective,
    strange_variables,
)

FOR_PROGRAMS = {"ssl_context", "now_ms", "secret", "transport.max_message_bytes", "transport.trusted_proxies"}
FOR_PROGRAMS |= {"transport.ssl_context"}


def leaves(instance: Any, prefix: str = "") -> set[str]:
    found = set()
    for attribute in attrs.fields(type(instance)):
        name, value = prefix + attribute.name, getattr(instance, attribute.name)
        found |= leaves(value, f"{name}.") if attrs.has(type(value)) else {name}
    return found


def test_everything_can_be_set_but_what_only_a_program_can_say() -> None:
    assert set(SETTINGS) == (leaves(DEFAULTS) | leaves(ServeOptions())) - FOR_PROGRAMS


def test_everything_is_explained_and_named_once() -> None:
    assert all(setting.explanation.endswith(".") for setting in SETTINGS.values())
    assert not [setting.name for setting in SETTINGS.values() if "…" in setting.explanation.replace("Bearer …", "")]
    assert len({setting.variable for setting in SETTINGS.values()}) == len(SETTINGS)
    assert [setting.name for setting in SETTINGS.values() if setting.secret] == ["operator_token"]


def test_without_anything_it_is_a_server_for_the_public() -> None:
    settings = effective()
    assert settings.config() == attrs.evolve(ServerConfig(), rate_limits=True)
    assert settings.options == ServeOptions()
    assert {value.origin for value in settings.values.values()} == {"default"}


FILE = """
store = "sqlite:///kept.db"
listen = ["wss://0.0.0.0:443"]
max_message_bytes = 1000
linger = 2          # a whole number is a number, too
rate_limits = false
origins = []

[rates]
messages = { burst = 5, per_second = 1.5 }

[rates.reads]
burst = 7

[engine]
default_rooms = ["lobby", "general"]

[transport]
write_timeout = 5.0
"""


def test_a_file() -> None:
    settings = effective(file=("chat.toml", FILE))
    config = settings.config()
    assert (config.max_message_bytes, config.linger, config.rate_limits) == (1000, 2.0, False)
    assert config.rates.messages == Rate(burst=5, per_second=1.5)
    assert config.rates.reads == Rate(burst=7, per_second=DEFAULTS.rates.reads.per_second)
    assert config.engine.default_rooms == ("lobby", "general")
    assert config.transport.write_timeout == 5.0
    assert config.transport_options.max_message_bytes == 1000
    assert settings.options.store == "sqlite:///kept.db"
    assert settings.values["rates.reads.burst"].origin == "chat.toml"
    assert settings.values["rates.reads.per_second"].origin == "default"


def test_a_flag_goes_before_the_environment_and_that_before_the_file() -> None:
    environment = {"CHATKIT_MAX_MESSAGE_BYTES": "2000", "CHATKIT_LINGER": "3", "CHATKIT_RATES_MESSAGES_BURST": "9"}
    settings = effective(
        flags={"max_message_bytes": ("--max-message-bytes", 3000)},
        assignments=["garbage=5"],
        environment=environment,
        file=("chat.toml", FILE + "\n"),
    )
    held = {name: (value.value, value.origin) for name, value in settings.values.items() if value.origin != "default"}
    assert held["max_message_bytes"] == (3000, "--max-message-bytes")
    assert held["linger"] == (3.0, "CHATKIT_LINGER")
    assert held["rates.messages.burst"] == (9.0, "CHATKIT_RATES_MESSAGES_BURST")
    assert held["rates.messages.per_second"] == (1.5, "chat.toml")
    assert held["garbage"] == (5, "--set")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("listen", "ws://a:1 tcp://b:2", ("ws://a:1", "tcp://b:2")),
        ("listen", "ws://a:1,tcp://b:2", ("ws://a:1", "tcp://b:2")),
        ("origins", "", ()),
        ("http", "No", False),
        ("rate_limits", "1", True),
        ("garbage", "1_000", 1000),
        ("linger", "0.5", 0.5),
        ("keep_events", "none", None),
        ("keep_events", "100", 100),
        ("keep_for", "3600", 3600.0),
        ("log_level", "debug", "debug"),
        ("operator_token", "none of your business", "none of your business"),
        ("tls_cert", "", None),
    ],
)
def test_texts(name: str, text: str, value: object) -> None:
    assert effective(assignments=[f"{name}={text}"])[name] == value
    assert effective(environment={SETTINGS[name].variable: text})[name] == value


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        (
            "max_mesage_bytes = 5",
            "chat.toml: there is no setting 'max_mesage_bytes'; did you mean 'max_message",
        ),
        ("[rates.messages]\nbrust = 5", "'rates.messages.brust'; did you mean 'rates.messages.burst'?"),
        ("[transport]\nmax_message_bytes = 5", "there is no setting 'transport.max_message_bytes'"),
        ("zzz = 1", "there is no setting 'zzz'; chatkit config lists them"),
        ("secret = 1", "there is no setting 'secret'"),
        ('max_message_bytes = "5"', 'chat.toml: max_message_bytes: expected an integer, not "5"'),
        ("max_message_bytes = 5.0", "max_message_bytes: expected an integer, not 5.0"),
        ("max_message_bytes = true", "max_message_bytes: expected an integer, not true"),
        ("max_message_bytes = 0", "max_message_bytes: expected more than 0, not 0"),
        ("linger = -1", "linger: expected more than 0, not -1.0"),
        ("linger = inf", "linger: expected a number, not inf"),
        ("linger = nan", "linger: expected a number, not nan"),
        ("http = 1", "http: expected true or false, not 1"),
        ('origins = "https://a.example"', "origins: expected a list"),
        ("origins = [1]", "origins[0]: expected a string, not [1]"),
        ("store = 1979-05-27", "store: expected a string"),
        ("rates = 5", "chat.toml: rates: expected a table, not 5"),
        ("rates.messages = 5", "rates.messages: expected a table, not 5"),
        ("linger = { a = 1 }", "linger: expected a number, not a table"),
        ('log_level = "chatty"', "log_level: expected one of debug, info, warning, error"),
        ('operator_token = ["hunter2"]', f"operator_token: expected a string, not {HIDDEN}"),
        ("= 5", "chat.toml is no TOML"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(file: str, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        effective(file=("chat.toml", file))
    assert sentence in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [
        ("linger", "--set linger: expected name=value"),
        ("lingre=5", "did you mean 'linger'?"),
        ("linger=soon", '--set linger: expected a number, not "soon"'),
        ("garbage=1.5", '--set garbage: expected an integer, not "1.5"'),
        ("garbage=1e3", "expected an integer"),
        ("http=maybe", "expected true or false"),
        ("linger=nan", "expected a number"),
    ],
)
def test_a_wrong_assignment(assignment: str, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        effective(assignments=[assignment])
    assert sentence in str(caught.value)


def test_a_wrong_variable_is_named() -> None:
    with pytest.raises(UsageError, match=r'^CHATKIT_LINGER: expected a number, not "soon"$'):
        effective(environment={"CHATKIT_LINGER": "soon"})


def test_a_variable_that_nearly_is_one_is_told_and_no_error() -> None:
    strange = {"CHATKIT_LINGRE": "5", "CHATKIT_SERVICE_HOST": "10.0.0.1", "CHATKIT_CONFIG": "x", "HOME": "/"}
    effective(environment=strange)
    (sentence,) = strange_variables(strange)
    assert sentence == "the environment variable CHATKIT_LINGRE means nothing; did you mean 'CHATKIT_LINGER'?"


# ── shown ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_shown_is_a_file_that_means_the_same() -> None:
    settings = effective(file=("chat.toml", FILE), assignments=['log_file=a"b\\c\x1b'])
    again = effective(file=("again.toml", "\n".join(as_file(settings))))
    assert {name: value.value for name, value in again.values.items()} == {
        name: value.value for name, value in settings.values.items()
    }


@given(st.text(max_size=20))
def test_any_text_is_shown_so_that_it_can_be_read_again(text: str) -> None:
    settings = effective(flags={"log_file": ("--log-file", text)}) if text.lower() not in ("", "none") else effective()
    lines = "\n".join(as_file(settings))
    assert all(char.isprintable() or char == "\n" for char in lines)
    assert tomllib.loads(lines).get("log_file") == settings["log_file"]


def test_a_secret_is_never_shown() -> None:
    settings = effective(
        environment={"CHATKIT_OPERATOR_TOKEN": "hunter2"}, assignments=["store=redis://ann:hunter2@db:6379/0"]
    )
    assert settings.config().operator_token == "hunter2"
    shown = "\n".join((*as_file(settings), *map(repr, as_records(settings)), repr(settings.config())))
    assert "hunter2" not in shown
    assert HIDDEN in shown
    assert "redis://ann:…@db:6379/0" in shown


def test_records_name_flag_variable_and_origin() -> None:
    (record,) = [one for one in as_records(effective()) if one["name"] == "rates.messages.burst"]
    assert record["variable"] == "CHATKIT_RATES_MESSAGES_BURST"
    assert (record["from"], record["value"], record["default"], record["kind"]) == ("default", 100, 100, "number")


def test_the_example_for_deploying_is_a_file_that_is_read() -> None:
    example = Path(__file__).parents[2] / "examples" / "deploy" / "chatkit.toml"
    settings = effective(file=("chatkit.toml", example.read_text()))
    assert settings.config().trusted_proxies == ("127.0.0.1",)
