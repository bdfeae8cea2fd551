"""The pages about the command line say what the code says."""

from __future__ import annotations

from pathlib import Path

from chatkit.frontends.commands import COMMANDS, GROUPS
from chatkit.frontends.exits import Exit

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "use-the-command-line.md").read_text()
README = (ROOT / "README.md").read_text()


def test_every_exit_code_is_documented() -> None:
    for code in Exit:
        assert f"| {code.value} | {code.meaning} |" in PAGE


def test_every_command_is_documented() -> None:
    for command in COMMANDS.values():
        assert f"| `{command.usage}` |" in PAGE.replace("\\|", "|")
    for command in GROUPS["Talking"]:
        assert f"/{command.name}" in README


def test_the_programs_of_the_readme_are_in_the_examples() -> None:
    for number, name in ((0, "server.py"), (1, "smallest_client.py")):
        block = README.split("```python\n")[number + 1].partition("```")[0]
        example = (ROOT / "examples" / name).read_text()
        said = {line.strip().removesuffix(", flush=True)") for line in example.splitlines()}
        for line in block.splitlines()[1:]:
            assert line.strip().removesuffix(")") in {one.removesuffix(")") for one in said}, line
