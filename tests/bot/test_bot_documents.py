"""The pages about bots: their programs run, and the tutorial works as it is printed."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import trio

from chatkit.frontends.bot import TEMPLATES

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "how-to").glob("bots-*.md"))


def blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_programs_of_a_page_can_be_declared(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "\n\n".join(blocks(page))
    (tmp_path / "shown.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    import shown  # type: ignore[import-not-found]

    del sys.modules["shown"]
    for name in ("bot", "other"):
        bot = getattr(shown, name, None)
        if bot is not None:
            for command in (one for scope in bot.scopes for one in scope.commands()):
                command.signature.check(bot.converters, command.name)


async def _pytest(folder: Path) -> str:
    done = await trio.run_process(
        [sys.executable, "-m", "pytest", "-q"], cwd=folder, check=False, capture_stdout=True, capture_stderr=True
    )
    return (done.stdout + done.stderr).decode()


async def test_the_page_about_testing_tests(tmp_path: Path) -> None:
    (tmp_path / "test_shown.py").write_text("\n\n".join(blocks(ROOT / "docs" / "how-to" / "bots-testing.md")))
    said = await _pytest(tmp_path)
    assert "2 passed" in said, said


async def test_the_tutorial_works_as_printed(tmp_path: Path) -> None:
    program, test, more = blocks(ROOT / "docs" / "tutorials" / "your-first-bot.md")
    assert program == TEMPLATES["bot.py"].replace("NAME", "dicey")
    assert test == TEMPLATES["test_bot.py"].replace("NAME", "dicey")
    (tmp_path / "pytest.ini").write_text(TEMPLATES["pytest.ini"])
    (tmp_path / "bot.py").write_text((ROOT / "examples" / "bots" / "dicey.py").read_text(encoding="utf-8"))
    (tmp_path / "test_bot.py").write_text(f"{test}\n\n{more}")
    said = await _pytest(tmp_path)
    assert "3 passed" in said, said
