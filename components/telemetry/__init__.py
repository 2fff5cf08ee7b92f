"""Logs, traces and counters, the same for every process. Secrets never reach them."""
