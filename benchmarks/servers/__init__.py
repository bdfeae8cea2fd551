"""One program per server under test: ``python -m benchmarks.servers.NAME PORT``.

The peers do no more work than an echo to the room must; chatkit does all it does.
"""
