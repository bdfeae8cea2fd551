"""``chatkit config``: what a server would be run with, and where each value comes from."""

from __future__ import annotations

import inspect
import json as json_module
import sys
from collections.abc import Sequence

from chatkit.frontends.exits import Exit
from chatkit.frontends.launch import run_command
from chatkit.frontends.options import Json
from chatkit.frontends.serve.flags import token_of, with_flags
from chatkit.server.settings import Settings, as_file, as_records


def run(arguments: Sequence[str]) -> int:
    """Show a server's settings, and where each comes from."""
    more = inspect.Parameter("json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Json)
    return run_command("config", with_flags(config, more), arguments, "[OPTIONS]")


def config(settings: Settings, *, json: bool) -> int:
    """Show a server's settings, what each is for, and where its value comes from.

    Takes every flag of chatkit serve. What it prints is a configuration file; secrets are left out.
    """
    settings.config(operator_token=token_of(settings))
    if json:
        lines = [json_module.dumps(record, ensure_ascii=False) for record in as_records(settings)]
    else:
        lines = list(as_file(settings))
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return Exit.OK
