"""How the documentation is built."""

from __future__ import annotations

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "chatkit"
author = "the chatkit developers"
version = release = version_of("chatkit")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "sphinxcontrib_trio"]
extensions += ["protocol_tables", "role_tables", "server_tables"]
exclude_patterns = ["_build"]
default_role = "py:obj"  # a name in single backticks, as the docstrings write it

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 100

html_theme = "furo"
html_title = f"chatkit {version}"
