"""Frontends: programs for people, found by name.

A frontend is a function ``run(arguments: Sequence[str]) -> int`` registered in the entry-point group
``chatkit.frontends``; ``chatkit NAME …`` calls it with what follows its name, and exits with what it returns. The
first line of its docstring stands in ``chatkit --help``. A `chatkit.ChatError` it raises becomes one sentence on
stderr and the exit code that `chatkit.frontends.exits` has for it.
"""
