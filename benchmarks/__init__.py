"""What chatkit costs, measured beside what a Python user would pick instead.

``python -m benchmarks --help``. The load generator speaks the wire itself (`wire`, `dialects`), opens many links
(`crowd`), drives them (`load`) and asks the kernel what the server's process spent (`machine`, `process`); `cases`
names what is measured, `report` and `plots` write it down. `servers` holds one program per peer.
"""
