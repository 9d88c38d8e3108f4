"""Fuzzing: each parser is given mutated files, and may do no more than read or refuse them.

`python -m tests.fuzz` runs every target; `make fuzz SECONDS=600` for longer; `make slow` 20 s each.
"""
