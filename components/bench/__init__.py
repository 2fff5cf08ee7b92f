"""Measurements of the real stack, each beside a baseline in the same run, printed as JSON."""
