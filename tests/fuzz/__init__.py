"""Seeded inputs that no client should send, by REST and by gRPC, against a running system.

`test_fuzz.py` sends a few; `make fuzz` sends 20,000 and 5,000.
"""
