"""Attacks on a running system, and the legitimate clients that must not notice them.

`make attack` runs them and writes docs/security.md. `test_attacks.py` holds what an attendee leaves behind
and learns.
"""
