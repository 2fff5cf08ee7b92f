"""The local stack: real servers and modbot's components as ordinary processes on one machine."""
