"""What `make bench` runs: everything side by side, in turn, on the same rows. No time is asserted."""
