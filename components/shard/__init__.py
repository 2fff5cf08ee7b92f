"""Holds Discord gateway sessions and appends what they deliver to the guilds' logs."""
