"""`make bench`: measures Connect and its alternatives alternately, on the same rows. No time is asserted."""
