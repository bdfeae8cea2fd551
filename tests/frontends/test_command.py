"""The command itself: help, names, exit codes, what is missing, and frontends of other packages."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from at_work import run

from chatkit.frontends.exits import Exit
from chatkit.version import __version__

FRONTENDS = ("chat", "demo", "send", "serve", "tail", "user")
FOREIGN = '''"""A frontend of another package."""

from collections.abc import Sequence


def run(arguments: Sequence[str]) -> int:
    """Count words."""
    print(len(arguments), "words")
    return 7
'''


async def test_version_and_help() -> None:
    version = await run("--version")
    assert (version.returncode, version.stdout) == (0, f"chatkit {__version__}\n")
    helped = await run("--help")
    assert helped.returncode == 0
    for name in FRONTENDS:
        assert f"\n  {name} " in helped.stdout
    assert "cannot be loaded" not in helped.stdout


@pytest.mark.parametrize("name", FRONTENDS)
async def test_every_frontend_explains_itself(name: str) -> None:
    helped = await run(name, "--help")
    assert helped.returncode == 0
    assert helped.stdout.startswith(f"Usage: chatkit {name}")
    assert helped.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["chta"], "no frontend 'chta'; did you mean 'chat'?"),
        (["chat", "--usr", "ann"], "Unknown option: --usr. Did you mean --user? See chatkit chat --help."),
        (["chat", "--name", "ann"], "Did you mean --user?"),
        (["chat", "--port", "9000"], "Did you mean --url ws://HOST:PORT?"),
        (["serve", "--port=9000"], "Unknown option: --port. Did you mean --listen ws://HOST:PORT?"),
        (["serve", "--host", "x"], "Did you mean --listen ws://HOST:PORT?"),
        (["serve", "--keepfor", "1d"], "Did you mean --keep-for?"),
        (["user", "list", "--port", "9"], "Unknown option: --port. See chatkit user list --help."),
        (["tail", "--count", "many"], "many"),
        (["send"], "send needs a text"),
        (["chat", "nonsense", "--user", "ann"], "'nonsense' is not a URL"),
        (["chat", "wx://127.0.0.1:1", "--user", "ann"], "no connection scheme 'wx'"),
        (["serve", "--log-level", "loud"], "loud"),
        (["serve", "--log-file", "/nowhere/log"], "cannot be written"),
        (["serve", "--store", "chat.db"], "is not a URL"),
    ],
)
async def test_calling_it_wrongly_is_one_sentence(arguments: list[str], sentence: str, tmp_path: Path) -> None:
    ended = await run(*arguments, folder=tmp_path)
    assert ended.returncode == Exit.USAGE
    assert ended.stdout == ""
    assert sentence in ended.stderr
    assert ended.stderr.count("\n") == 1


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )


@pytest.mark.parametrize(("missing", "name"), [("cyclopts", "chat"), ("rich", "demo"), ("cyclopts", "serve")])
def test_a_missing_extra_is_named(missing: str, name: str) -> None:
    ended = python(
        f"import sys; sys.modules[{missing!r}] = None\n"
        f"from chatkit.frontends.main import main; sys.exit(main([{name!r}]))"
    )
    assert ended.returncode == Exit.USAGE
    assert ended.stderr.count("\n") == 1
    assert "pip install 'chatkit[cli]'" in ended.stderr


def test_using_chatkit_loads_nothing_of_the_command_line() -> None:
    ended = python(
        "import sys, chatkit; [getattr(chatkit, name) for name in chatkit.__all__]; import chatkit.frontends.commands\n"
        "print(sorted({'cyclopts', 'rich', 'prompt_toolkit', 'asyncio'} & sys.modules.keys()))"
    )
    assert ended.stdout == "[]\n", ended.stderr


def test_a_frontend_of_another_package(tmp_path: Path) -> None:
    wheel = tmp_path / "wordy-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("wordy.py", FOREIGN)
        archive.writestr("wordy-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: wordy\nVersion: 1.0\n")
        archive.writestr("wordy-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("wordy-1.0.dist-info/entry_points.txt", "[chatkit.frontends]\nwordy = wordy:run\n")
        archive.writestr("wordy-1.0.dist-info/RECORD", "")
    target = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--target", str(target), str(wheel)]
    subprocess.run(pip, check=True, capture_output=True)
    command = [sys.executable, "-m", "chatkit"]
    environment = {**os.environ, "PYTHONPATH": str(target)}
    ended = subprocess.run(
        [*command, "wordy", "a", "--b"], env=environment, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (7, "2 words\n")
    helped = subprocess.run([*command, "--help"], env=environment, capture_output=True, text=True, check=False)
    assert "  wordy       Count words\n" in helped.stdout


async def test_the_demo_is_over_soon_and_all_is_well() -> None:
    ended = await run("demo")
    assert ended.returncode == 0
    assert ended.stderr == ""
    assert "\x1b" not in ended.stdout
    for expected in ("5 of 5, identical", "3 of 3, identical", "the others are told after", "chatkit chat --user ann"):
        assert expected in ended.stdout
