"""Whether a backend keeps the laws of :mod:`chatkit.backend.interface`: a suite for ours and for anybody's.

::

    async def test_my_backend(tmp_path):
        await check_backend(lambda: open_backend(f"mine://{tmp_path}/store"))
"""

from __future__ import annotations

from chatkit.testing.backend.suite import check_backend

__all__ = ["check_backend"]
