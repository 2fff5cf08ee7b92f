"""Breaks the real stack on purpose and checks the whole history of what happened."""
