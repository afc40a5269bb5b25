"""Attacks on a running system, and the legitimate clients that must not notice them.

`test_attacks.py` runs each attack for some seconds; `make attack` runs them for longer and writes
docs/security.md.
"""
