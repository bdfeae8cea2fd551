"""The house: who may import whom, what loads no Trio, and that what is public says what it is."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
import types
import typing
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import chatkit
from chatkit import errors

SOURCE = Path(chatkit.__file__).parent
LEAVES = {"errors", "registry", "version", "private", "flag"}

# A part, and what it may import besides the leaves and itself. A dotted name allows that module only.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "version": set(),
    "registry": {"errors"},
    "private": {"errors"},
    "flag": set(),
    "protocol": {"errors"},
    "engine": {"errors", "protocol", "backend.records"},
    "backend": LEAVES | {"protocol"},
    "transport": LEAVES | {"protocol"},
    "client": LEAVES | {"protocol", "transport"},
    "server": LEAVES | {"protocol", "engine", "backend", "transport"},
    "bot": LEAVES | {"client", "protocol.messages", "protocol.moderation"},
    "frontends": LEAVES | {"client", "protocol"},
}

# One arrow upwards: Server.connect gives a client in the same process.
# The command that runs bots knows them.
EXCEPTIONS: dict[str, set[str]] = {"server.server": {"client"}, "frontends.bot": {"bot"}}

# The commands that run or administer a server import it; every other frontend only knows the client.
COMMANDS = {"serve", "demo", "bench", "user"}
COMMANDS_MAY_IMPORT = {"server", "backend", "transport", "bot"}

FREE = {"", "__main__", "testing"}
"""The front door loads what is asked for; testing puts everything together."""

NO_TRIO = ("protocol", "engine", "client.state", "client.window", "client.message", "backend.records", "errors")


def module_name(path: Path) -> str:
    """Return a module's name inside chatkit, ``""`` for chatkit itself."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(SOURCE.rglob("*.py"))}


def imports(name: str) -> Iterator[tuple[int, str]]:
    """Give line and full name of everything a module imports, wherever in it, for type checking or by string too."""
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name) for alias in names)
            case ast.ImportFrom(module=str(module), names=names, level=0):
                yield from ((node.lineno, target(module, alias.name)) for alias in names)
            case ast.ImportFrom(level=level):
                assert level == 0, f"{name}:{node.lineno} imports relatively"
            case ast.Call(func=ast.Name("import_module") | ast.Attribute(attr="import_module")):
                if isinstance(node.args[0], ast.Constant):
                    yield node.lineno, str(node.args[0].value)


def target(module: str, name: str) -> str:
    """Return the module that ``from module import name`` loads."""
    inside = f"{module}.{name}".removeprefix("chatkit.")
    return f"{module}.{name}" if inside in MODULES else module


def part_of(name: str) -> str:
    return name.partition(".")[0]


def allowed(importer: str, imported: str) -> bool:
    if part_of(importer) == part_of(imported):
        return True
    may = MAY_IMPORT[part_of(importer)] | EXCEPTIONS.get(importer, set())
    if part_of(importer) == "frontends" and COMMANDS.intersection(importer.split(".")):
        may |= COMMANDS_MAY_IMPORT
    return any(imported == one or imported.startswith(f"{one}.") for one in may)


@pytest.mark.parametrize("name", [name for name in MODULES if part_of(name) not in FREE])
def test_imports_point_one_way(name: str) -> None:
    wrong = []
    for line, imported in imports(name):
        if imported == "chatkit" or imported.startswith("chatkit."):
            inside = imported.removeprefix("chatkit").removeprefix(".")
            if not allowed(name, inside):
                wrong.append(f"chatkit.{name}, line {line}: imports {imported}")
    assert not wrong, "\n".join(wrong)


def test_every_part_has_its_rule() -> None:
    assert {part_of(name) for name in MODULES} - FREE <= set(MAY_IMPORT)


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("protocol.codec", "engine"),
        ("engine.engine", "backend.sqlite"),
        ("engine.engine", "server"),
        ("client.client", "server"),
        ("client.client", "engine"),
        ("bot.bot", "server"),
        ("frontends.tui", "server"),
        ("frontends.tui", "engine"),
        ("transport.tcp", "server"),
        ("backend.sqlite", "transport"),
        ("registry", "protocol"),
    ],
)
def test_the_rule_forbids(importer: str, imported: str) -> None:
    assert not allowed(importer, imported)


@pytest.mark.parametrize("package", [name for name in NO_TRIO if name in MODULES])
def test_no_trio_in_what_is_pure(package: str) -> None:
    for name in MODULES:
        if name == package or name.startswith(f"{package}."):
            found = [line for line, imported in imports(name) if part_of(imported) in ("trio", "trio_websocket")]
            assert not found, f"chatkit.{name} imports trio in line {found[0]}"


@pytest.mark.parametrize("package", ["chatkit", "chatkit.protocol", "chatkit.engine", "chatkit.errors"])
def test_no_trio_is_loaded(package: str) -> None:
    program = f"import sys, {package}; print(*[name for name in sys.modules if name.startswith('trio')])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


def test_one_importer_of_each_outside_library() -> None:
    alone = {
        "trio_websocket": {"transport.websocket"},
        "hypothesis": {"testing.strategies"},
        "precis_i18n": {"protocol.names", "server.passwords"},
    }
    for name in MODULES:
        for line, imported in imports(name):
            assert name in alone.get(part_of(imported), {name}), f"chatkit.{name}, line {line}: imports {imported}"


# ── what is public ───────────────────────────────────────────────────────────────────────────────────────────────────

PACKAGES = [
    name
    for name in (
        "chatkit",
        *(f"chatkit.{module.name}" for module in pkgutil.iter_modules([str(SOURCE)]) if module.ispkg),
    )
    if name != "chatkit.frontends"
]


def public_names(module: types.ModuleType) -> list[str]:
    return list(getattr(module, "__all__", ()))


def documented_constants(module: str) -> set[str]:
    """Return the names that a module assigns and says a sentence about right below."""
    found = set()
    for node, below in pairwise(ast.parse(MODULES[module].read_text(encoding="utf-8")).body):
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str):
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            found |= {one.id for one in targets if isinstance(one, ast.Name)}
    return found


def is_documented(package: str, name: str, value: Any) -> bool:
    """Whether a public name says what it is: a docstring of its own, or for a constant the sentence below it."""
    if inspect.isclass(value):
        return bool(vars(value).get("__doc__"))
    if inspect.isroutine(value) or inspect.ismodule(value):
        return bool(inspect.getdoc(value))
    if name.startswith("__") or typing.get_origin(value) is not None or isinstance(value, types.UnionType):
        return True  # __version__; the alias of a type
    inside = package.removeprefix("chatkit.")
    return any(name in documented_constants(module) for module in MODULES if part_of(module) == inside)


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_public_says_what_it_is(package: str) -> None:
    module = importlib.import_module(package)
    assert inspect.getdoc(module)
    silent = [name for name in public_names(module) if not is_documented(package, name, getattr(module, name))]
    assert not silent, f"{package}: no docstring: {', '.join(silent)}"


@pytest.mark.parametrize("package", PACKAGES)
def test_all_is_true(package: str) -> None:
    module = importlib.import_module(package)
    names = public_names(module)
    assert len(names) == len(set(names))
    assert not [name for name in names if not hasattr(module, name)]


def test_the_tree_of_errors_is_the_tree_that_is_drawn() -> None:
    assert errors.__doc__
    drawn: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    for line in errors.__doc__.splitlines():
        name, indent = line.strip(" │├└─").split(" ")[0], len(line) - len(line.lstrip(" │├└─"))
        if indent and hasattr(errors, name):
            while path and path[-1][0] >= indent:
                path.pop()
            drawn[name] = path[-1][1] if path else "Exception"
            path.append((indent, name))
    real = {
        name: value.__bases__[0].__name__
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    assert drawn == real


@pytest.mark.parametrize("package", PACKAGES)
def test_no_public_exception_is_missing_from_the_tree(package: str) -> None:
    module = importlib.import_module(package)
    for name in public_names(module):
        value = getattr(module, name)
        if inspect.isclass(value) and issubclass(value, BaseException) and not issubclass(value, AssertionError):
            assert vars(errors).get(name) is value
