"""Everything that can be set about ``chatkit serve``, once: its name, its kind, its default and why it is there.

Flags, environment variables, the keys of a file, ``chatkit config`` and the table in the documentation are drawn from
`SETTINGS`, and `SETTINGS` from `ServerConfig` and `ServeOptions`. Pure: files and the environment are arguments.

Laws: a flag goes before the environment, that before the file, that before the default; a value is never bent to fit;
what is wrong is said in one sentence that names the place; a secret is never shown.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import math
import re
import textwrap
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import attrs
from attrs import frozen

from chatkit.engine.limits import Guests, Registration
from chatkit.errors import UsageError
from chatkit.protocol.converter import fault_of, make_converter
from chatkit.server.config import ServerConfig
from chatkit.server.server import DEFAULT_ADDRESSES, DEFAULT_STORE

Level: TypeAlias = Literal["debug", "info", "warning", "error"]

PREFIX = "CHATKIT_"
CONFIG_VARIABLE = "CHATKIT_CONFIG"
"""Names the file, as ``--config`` does."""
HIDDEN = "(set, not shown)"
DECIDED_ELSEWHERE = frozenset({"transport.max_message_bytes"})
KINDS: Mapping[Any, str] = {
    str: "text",
    str | None: "text",
    int: "whole number",
    int | None: "whole number",
    float: "number",
    float | None: "number",
    bool: "true or false",
    tuple[str, ...]: "list of texts",
    Level: "debug, info, warning or error",
    Guests: "yes, no or read-only",
    Registration: "open, invitation or closed",
}
"""What a setting can be; whatever else stands in a configuration is for programs only."""
WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
PASSWORD = re.compile(r"(?<=://)([^/@:]*):[^/@]*@")

_converter = make_converter("json", detailed=False)


@frozen(kw_only=True)
class ServeOptions:
    """What ``chatkit serve`` needs besides a `ServerConfig`."""

    store: str = DEFAULT_STORE
    """Where everything is kept, as a URL; ``memory://`` keeps it until the server ends."""
    listen: tuple[str, ...] = DEFAULT_ADDRESSES
    """The addresses to listen on: ``ws://``, ``wss://``, ``tcp://`` or ``tls://`` with host and port. Port 0: a free
    one."""
    tls_cert: str | None = None
    """A PEM file with the certificate for ``wss://`` and ``tls://``, those of its authorities behind it. Read again at
    SIGHUP."""
    tls_key: str | None = None
    """A PEM file with the certificate's key, without a passphrase; unset, it is in the file of the certificate."""
    operator_token_file: str | None = None
    """A file that holds the operator's token, so that it stands in no command line."""
    log_level: Level = "info"
    """From which level up to log on standard error."""
    log_file: str | None = None
    """Log to this file as well, one JSON object per line. It may be moved away while the server runs."""


@frozen(kw_only=True)
class Setting:
    """One thing that can be set."""

    name: str
    """Its key in a file; a dot stands for a table: ``rates.messages.burst``."""
    kind: Any
    default: Any
    explanation: str
    secret: bool = False

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return PREFIX + self.name.replace(".", "_").upper()

    @property
    def words(self) -> str:
        """Say what it can be."""
        return KINDS[self.kind] + (" or nothing" if type(None) in typing.get_args(self.kind) else "")

    @property
    def table(self) -> str:
        """The table of a file that it stands in; empty for none."""
        return self.name.partition(".")[0] if "." in self.name else ""

    def take(self, raw: object, where: str) -> Any:
        """Return a value that came with its type, from a file. Raises `UsageError`, which says ``where``."""
        try:
            value = _converter.structure(raw, self.kind)
        except Exception as error:
            raise UsageError(f"{fault_of(error, where)}, not {shown(raw, secret=self.secret)}") from error
        if isinstance(value, int | float) and not isinstance(value, bool) and not 0 < value < math.inf:
            raise UsageError(f"{where}: expected more than 0, not {value!r}")
        return value

    def read(self, text: str, where: str) -> Any:
        """Return the value that a text means, from a flag or the environment. Raises `UsageError`."""
        raw: object = text
        base = self.kind if self.kind in (int, float, bool, str) else None
        if isinstance(self.kind, types.UnionType):
            base = typing.get_args(self.kind)[0]
            if text.lower() in ("", "none"):
                return None
        if base is int and re.fullmatch(r"[+-]?[0-9][0-9_]*", text):
            raw = int(text)
        elif base is float:
            raw = _float(text)
        elif base is bool:
            raw = WORDS.get(text.lower(), text)
        elif self.kind == tuple[str, ...]:
            raw = [part for part in re.split(r"[\s,]+", text) if part]
        return self.take(raw, where)


def _float(text: str) -> object:
    try:
        return float(text)
    except ValueError:
        return text


@frozen
class Value:
    """What a setting is, and whence: ``default``, a file's name, an environment variable or a flag."""

    setting: Setting
    value: Any
    origin: str = "default"

    @property
    def shown(self) -> str:
        """The value as it stands in a file, but for a secret."""
        return shown(self.value, secret=self.setting.secret)


@frozen
class Settings:
    """All settings with their values."""

    values: Mapping[str, Value]

    def __getitem__(self, name: str) -> Any:
        return self.values[name].value

    @property
    def options(self) -> ServeOptions:
        """Return what ``chatkit serve`` needs besides the configuration."""
        options: ServeOptions = _build(ServeOptions(), self, "")
        return options

    def config(self, **more: Any) -> ServerConfig:
        """Return the server's configuration, with what no file can say as ``more``. Raises `UsageError`."""
        config: ServerConfig = _build(DEFAULTS, self, "")
        return attrs.evolve(config, **more)


def _build(default: Any, settings: Settings, prefix: str) -> Any:
    changed = {}
    for attribute in attrs.fields(type(default)):
        name, value = prefix + attribute.name, getattr(default, attribute.name)
        if name in settings.values:
            changed[attribute.name] = settings[name]
        elif attrs.has(type(value)):
            changed[attribute.name] = _build(value, settings, f"{name}.")
    return attrs.evolve(default, **changed)


# ── what there is ────────────────────────────────────────────────────────────────────────────────────────────────────

DEFAULTS = ServerConfig(rate_limits=True)
"""A server that is run by the command is one for the public."""


def explanations(cls: type[Any]) -> Mapping[str, str]:
    """Return what a class says of each attribute, in the string right below it, as one line."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(tree, ast.ClassDef)
    found: dict[str, str] = {}
    for node, below in zip(tree.body, tree.body[1:], strict=False):
        match node, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = " ".join(text.split())
    return found


def _leaves(default: Any, prefix: str = "", about: str = "") -> Iterator[Setting]:
    cls = type(default)
    hints, said = typing.get_type_hints(cls), explanations(cls)
    for attribute in attrs.fields(cls):
        name, value = prefix + attribute.name, getattr(default, attribute.name)
        words = " ".join(part for part in (about, said.get(attribute.name, "")) if part)
        if attrs.has(type(value)):
            yield from _leaves(value, f"{name}.", said.get(attribute.name, "") if prefix else "")
        elif hints[attribute.name] in KINDS and name not in DECIDED_ELSEWHERE:
            yield Setting(
                name=name, kind=hints[attribute.name], default=value, explanation=words, secret=not attribute.repr
            )


SETTINGS: Mapping[str, Setting] = {
    setting.name: setting
    for setting in sorted((*_leaves(ServeOptions()), *_leaves(DEFAULTS)), key=lambda setting: setting.table)
}
"""Every setting by its name; those in tables come last, as a TOML file wants it."""


def known(name: str, where: str) -> Setting:
    """Return the setting of a name. Raises `UsageError` with the nearest name."""
    setting = SETTINGS.get(name)
    if setting is None:
        raise UsageError(f"{where}: there is no setting {name!r}{_near(name)}")
    return setting


def _near(name: str) -> str:
    near = difflib.get_close_matches(name, SETTINGS, n=1)
    return f"; did you mean {near[0]!r}?" if near else "; chatkit config lists them"


# ── where it comes from ──────────────────────────────────────────────────────────────────────────────────────────────


def effective(
    *,
    flags: Mapping[str, tuple[str, object]] | None = None,
    assignments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    file: tuple[str, str] | None = None,
) -> Settings:
    """Return the settings that hold.

    ``flags`` are values by setting, each with the flag it came by; ``assignments`` are ``name=value`` of ``--set``;
    ``file`` is its name and its text. Raises `UsageError`.
    """
    values = {name: Value(setting, setting.default) for name, setting in SETTINGS.items()}
    for found in (
        from_file(*file) if file else (),
        from_environment(environment or {}),
        map(_assigned, assignments),
        (_flagged(name, flag, raw) for name, (flag, raw) in (flags or {}).items()),
    ):
        values.update((value.setting.name, value) for value in found)
    return Settings(values)


def from_file(name: str, text: str) -> Iterator[Value]:
    """Give what a TOML file sets. Raises `UsageError`."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{name} is no TOML: {error}") from error
    yield from _from_table(tables, name, "")


def _from_table(table: Mapping[str, Any], file: str, prefix: str) -> Iterator[Value]:
    for key, raw in table.items():
        name = prefix + key
        if any(other.startswith(f"{name}.") for other in SETTINGS):
            if not isinstance(raw, dict):
                raise UsageError(f"{file}: {name}: expected a table, not {shown(raw)}")
            yield from _from_table(raw, file, f"{name}.")
        else:
            setting = known(name, file)
            yield Value(setting, setting.take(raw, f"{file}: {name}"), file)


def from_environment(environment: Mapping[str, str]) -> Iterator[Value]:
    """Give what environment variables set. Raises `UsageError`."""
    for setting in SETTINGS.values():
        if setting.variable in environment:
            yield Value(setting, setting.read(environment[setting.variable], setting.variable), setting.variable)


def strange_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """Give a sentence for each variable that looks like one of ours and is none. They are no error: an orchestrator
    sets such variables of its own."""
    names = {setting.variable for setting in SETTINGS.values()} | {CONFIG_VARIABLE}
    for name in environment:
        if name.startswith(PREFIX) and name not in names:
            near = difflib.get_close_matches(name, names, n=1, cutoff=0.85)
            if near:
                yield f"the environment variable {name} means nothing; did you mean {near[0]!r}?"


def _assigned(assignment: str) -> Value:
    name, equals, text = assignment.partition("=")
    if not equals:
        raise UsageError(f"--set {assignment}: expected name=value")
    setting = known(name.strip(), "--set")
    return Value(setting, setting.read(text.strip(), f"--set {setting.name}"), "--set")


def _flagged(name: str, flag: str, raw: object) -> Value:
    setting = SETTINGS[name]
    return Value(setting, setting.read(raw, flag) if isinstance(raw, str) else setting.take(raw, flag), flag)


# ── how it is shown ──────────────────────────────────────────────────────────────────────────────────────────────────


def shown(value: object, *, secret: bool = False) -> str:
    """Return a value as TOML writes it; a password in a URL and a secret are not shown."""
    if value is None:
        return "nothing"
    if secret:
        return HIDDEN
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(shown, value))}]"
    if isinstance(value, str):
        return _quoted(PASSWORD.sub(r"\1:…@", value))
    if isinstance(value, dict):
        return "a table"
    return repr(value)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in escaped) + '"'


def as_file(settings: Settings) -> Iterator[str]:
    """Give the lines of a TOML file that says what holds, with each setting's explanation and origin."""
    table = ""
    for name, value in settings.values.items():
        setting = value.setting
        if setting.table != table:
            table = setting.table
            yield f"[{table}]"
            yield ""
        yield from textwrap.wrap(
            setting.explanation.replace("``", ""), 100, initial_indent="# ", subsequent_indent="# "
        )
        key = name.removeprefix(f"{table}.")
        void = "# " if value.value is None or setting.secret else ""
        yield f"{void}{key} = {value.shown}  # {value.origin}"
        yield ""


def as_records(settings: Settings) -> Iterator[dict[str, Any]]:
    """Give one record per setting, for programs."""
    for name, value in settings.values.items():
        setting = value.setting
        hidden = setting.secret and value.value is not None
        plain = PASSWORD.sub(r"\1:…@", value.value) if isinstance(value.value, str) else value.value
        yield {
            "name": name,
            "value": HIDDEN if hidden else plain,
            "from": value.origin,
            "default": setting.default,
            "kind": setting.words,
            "variable": setting.variable,
            "explanation": setting.explanation,
        }
