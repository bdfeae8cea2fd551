"""The machine: which core does what, what a process has spent, and what is measured on."""

from __future__ import annotations

import os
import platform
import resource
import time
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("chatkit", "trio", "trio-websocket", "orjson", "websockets", "uvloop", "python-socketio", "uvicorn")
MORE_PACKAGES = ("picows", "socketify")
CPUCLOCK_SCHED = 2


@cache
def cores() -> tuple[int, int]:
    """Return the core the generator runs on and the core the server runs on; the same one if there is only one.

    As it was at the first call: once the generator is pinned, it would see no core but its own.
    """
    available = sorted(os.sched_getaffinity(0))
    return available[0], available[-1]


def pin(core: int) -> None:
    """Keep this process on one core."""
    os.sched_setaffinity(0, {core})


def cpu_seconds(pid: int) -> float:
    """Return the CPU time a process has used, user and system, all threads, living and ended.

    The process's CPU clock: the same account as ``/proc/PID/stat``, in nanoseconds instead of ticks of 10 ms.
    """
    return time.clock_gettime((~pid << 3) | CPUCLOCK_SCHED)


def resident_bytes(pid: int) -> int:
    """Return a process's resident memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def raise_descriptor_limit() -> int:
    """Allow this process and its children as many descriptors as may be, and return how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def load_average() -> float:
    """Return how many processes have wanted a core in the last minute."""
    return os.getloadavg()[0]


def described() -> dict[str, str]:
    """Return the machine and the versions, as the report shows them."""
    facts = {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release().split('-')[0]}",
        "Python": platform.python_version(),
    }
    for package in (*PACKAGES, *MORE_PACKAGES):
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "not installed"
    return facts


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def busy_seconds() -> float:
    """Return the CPU time all cores have spent at anything since the machine started, stolen time too."""
    user, nice, system, _, _, irq, softirq, steal, *_ = map(
        int, Path("/proc/stat").read_text().split("\n")[0].split()[1:]
    )
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def wait_for_quiet(busy: float = 0.15, patience: float = 60.0) -> float:
    """Wait until others use less than this share of the machine for two seconds, or until patience ends; return the
    share seen last."""
    until = time.monotonic() + patience
    while True:
        before, began = busy_seconds(), time.monotonic()
        time.sleep(2)
        share = (busy_seconds() - before) / (time.monotonic() - began) / (os.cpu_count() or 1)
        if share < busy or time.monotonic() > until:
            return share
