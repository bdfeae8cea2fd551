"""The flags of ``chatkit serve`` and ``chatkit config``: drawn from the settings, everyday ones by name."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from chatkit.errors import UsageError
from chatkit.frontends.options import Parameter
from chatkit.server.settings import (
    CONFIG_VARIABLE,
    SETTINGS,
    Setting,
    Settings,
    effective,
    strange_variables,
)

NAMED: Mapping[str, str] = {
    "store": "--store",
    "listen": "--listen",
    "tls_cert": "--tls-cert",
    "tls_key": "--tls-key",
    "engine.guests": "--guests",
    "engine.registration": "--registration",
    "engine.session_life": "--session-life",
    "origins": "--origin",
    "trusted_proxies": "--trusted-proxy",
    "http": "--http",
    "operator_token": "--operator-token",
    "operator_token_file": "--operator-token-file",
    "rate_limits": "--rate-limits",
    "max_message_bytes": "--max-message-bytes",
    "keep_events": "--keep-events",
    "keep_for": "--keep-for",
    "log_level": "--log-level",
    "log_file": "--log-file",
}
"""The settings that have a flag of their own; ``--set NAME=VALUE`` is for every other."""
LONGEST_FILE = 1_048_576


def with_flags(command: Callable[..., int], *more: inspect.Parameter) -> Callable[..., int]:
    """Return a command that takes the flags of all settings; it is called with the `Settings` they amount to, and
    with what ``more`` takes besides."""

    def run(**given: Any) -> int:
        besides = {parameter.name: given.pop(parameter.name, parameter.default) for parameter in more}
        return command(gather(given), **besides)

    parameters = [_config(), *map(_named, NAMED), _set(), *more]
    run.__doc__ = command.__doc__
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def gather(given: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings that flags, the environment and a file amount to. Raises `UsageError`."""
    for sentence in strange_variables(environment):
        sys.stderr.write(f"chatkit: {sentence}\n")
    path = given.get("config") or environment.get(CONFIG_VARIABLE)
    return effective(
        flags={name: (_flag(name, value), value) for name in NAMED if (value := given.get(_word(name))) is not None},
        assignments=given.get("set_") or (),
        environment=environment,
        file=(str(path), _text(Path(path), "the configuration")) if path else None,
    )


def token_of(settings: Settings) -> str | None:
    """Return the operator's token, from wherever it is to come. Raises `UsageError`."""
    token: str | None = settings["operator_token"]
    path = settings["operator_token_file"]
    if path is None:
        return token
    if token is not None:
        raise UsageError("operator_token and operator_token_file are both set: one of them is enough")
    found = _text(Path(path), "the operator's token").strip()
    if not found:
        raise UsageError(f"the file of the operator's token {path!r} is empty")
    return found


def _text(path: Path, what: str) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{what} {str(path)!r} cannot be read: {error.strerror}") from error
    if len(data) > LONGEST_FILE:
        raise UsageError(f"{what} {str(path)!r} is longer than {LONGEST_FILE} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{what} {str(path)!r} is no UTF-8 text") from error


def _flag(name: str, value: object) -> str:
    flag = NAMED[name]
    return f"--no-{flag.removeprefix('--')}" if value is False else flag


def _config() -> inspect.Parameter:
    text = "A TOML file with settings. Flags go before the environment (CHATKIT_…), that before the file."
    return _parameter("config", Annotated[Path | None, Parameter(name="--config", show_default=False, help=text)])


def _set() -> inspect.Parameter:
    text = "NAME=VALUE: any setting, by its name in a file; chatkit config lists them. Repeat it for several."
    kind = Annotated[tuple[str, ...] | None, Parameter(name="--set", negative="", show_default=False, help=text)]
    return _parameter("set_", kind)


def _named(name: str) -> inspect.Parameter:
    setting = SETTINGS[name]
    help_text = setting.explanation.replace("``", "")
    negative = None if setting.kind is bool else ""
    if setting.kind == tuple[str, ...]:
        help_text = f"{help_text} Repeat it for several."
    elif setting.secret:
        help_text = f"{help_text} Others on this machine can read a command line: --operator-token-file hides it."
    options = Parameter(name=NAMED[name], negative=negative, show_default=_default(setting), help=help_text)
    return _parameter(_word(name), Annotated[setting.kind | None, options])


def _word(name: str) -> str:
    """Return a setting's name as that of a parameter."""
    return name.replace(".", "_")


def _default(setting: Setting) -> Any:
    value = setting.default
    if value is None or value == ():
        return False
    if isinstance(value, bool):
        return NAMED[setting.name] if value else f"no-{NAMED[setting.name].removeprefix('--')}"
    return " ".join(value) if isinstance(value, tuple) else str(value)


def _parameter(name: str, kind: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
