"""Benchmarks of lazycog and of other tools, each run as a process of its own.

``python tests/benchmarks --help``, in a clone with ``pip install ".[bench]"``.
"""
