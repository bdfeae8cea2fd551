"""What is checked before a change is taken: ``nox`` for all of it, ``nox -s lint`` for a part.

With ``nox --no-venv`` the sessions use the environment they are started from.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.error_on_missing_interpreters = False
nox.options.reuse_venv = "yes"
nox.options.sessions = ["tests", "lint", "types", "docs", "build"]

PYTHONS = ["3.11", "3.12", "3.13"]


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The tests, and which lines and branches they reach."""
    need(session, "-e", ".[dev]")
    session.run("coverage", "run", "-m", "pytest", "-n0", *session.posargs)
    session.run("coverage", "report", "--skip-covered", "--skip-empty")


@nox.session
def lint(session: nox.Session) -> None:
    """Style, by ruff alone."""
    need(session, "ruff")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """The library, and programs that use it, under mypy's strict rules."""
    need(session, "-e", ".[dev]")
    session.run("mypy")
    session.run("mypy", "tests/typing")


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation, where every warning is an error."""
    need(session, "-e", ".[docs,all]")
    session.run("python", "-m", "sphinx", "-W", "--keep-going", "-b", "html", "docs", "docs/_build")


@nox.session
def build(session: nox.Session) -> None:
    """The wheel, installed where nothing of the checkout can be found, does what it promises."""
    with tempfile.TemporaryDirectory() as elsewhere:
        session.run("python", "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", elsewhere, ".")
        (wheel,) = Path(elsewhere).glob("chatkit-*.whl")
        session.run("python", "-m", "venv", f"{elsewhere}/venv")
        bare = f"{elsewhere}/venv/bin"
        session.chdir(elsewhere)
        session.run(f"{bare}/pip", "install", "--quiet", str(wheel), external=True)
        session.run(f"{bare}/python", "-c", IMPORTS, external=True)
        session.run(f"{bare}/python", "-c", EXTRA_IS_NAMED, external=True)
        session.run(f"{bare}/pip", "install", "--quiet", f"{wheel}[cli]", external=True)
        session.run(f"{bare}/chatkit", "--version", external=True)
        session.run(f"{bare}/chatkit", "demo", external=True)


@nox.session
def fuzz(session: nox.Session) -> None:
    """The codec under 200,000 mutated and random messages per property. Takes its time."""
    need(session, "-e", ".[dev]")
    patience = ("-n0", "--timeout=0", "-o", "faulthandler_timeout=0")
    session.run("pytest", "tests/protocol/test_fuzz.py", "--hypothesis-profile=long", *patience, *session.posargs)


@nox.session
def browser(session: nox.Session) -> None:
    """The server's page in a real Chromium."""
    need(session, "-e", ".[dev]")
    session.run("pytest", "-n0", "tests/browser", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """What chatkit costs, beside its peers. ``nox -s bench -- --check`` only sees whether everything runs."""
    need(session, "-e", ".[bench]")
    session.run("python", "-m", "benchmarks", *(session.posargs or ["--quick"]))


@nox.session
def torture(session: nox.Session) -> None:
    """Hundreds of kills, minutes of a bad network, a link lost after every byte, 20,000 simulated worlds, a
    million mutated handshakes, ten minutes of coming and going beside thousands: more than an hour."""
    need(session, "-e", ".[dev]")
    long = {
        "CHATKIT_KILLS": "500",
        "CHATKIT_CUT_SECONDS": "300",
        "CHATKIT_BYTE_STEP": "1",
        "CHATKIT_SEEDS": "20000",
        "TORTURE_HANDSHAKES": "1000000",
        "TORTURE_LOOPBACK": "20000",
        "TORTURE_STRANGERS": "2000",
        "TORTURE_CROWD": "5000 2000 200",
        "TORTURE_SOAK_SECONDS": "600",
    }
    patience = ("-n0", "--timeout=0", "-o", "faulthandler_timeout=0")
    suites = ("tests/torture", "tests/simulation", "tests/delivery", "tests/hardening", "-m", "slow or not slow")
    session.run("pytest", *suites, *patience, *session.posargs, env=long)


def need(session: nox.Session, *what: str) -> None:
    """Install into the session's environment, if it has one of its own."""
    if session.virtualenv.is_sandboxed:
        session.install(*what)


IMPORTS = """
import chatkit
import chatkit.backend, chatkit.client, chatkit.engine, chatkit.protocol, chatkit.server, chatkit.testing
from importlib.resources import files

for name in chatkit.__all__:
    getattr(chatkit, name)
assert (files("chatkit") / "py.typed").is_file()
"""

EXTRA_IS_NAMED = """
import chatkit

try:
    import chatkit.testing.strategies
except chatkit.MissingExtra as error:
    assert error.extra == "testing", error
else:
    raise SystemExit("hypothesis is not expected here")
"""
