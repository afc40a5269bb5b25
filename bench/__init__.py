"""What `make bench` runs: each part asks everything side by side, in turn, on the same rows. No time is asserted."""
