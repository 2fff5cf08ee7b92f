"""Discord's gateway: sockets, sessions, and who hears of what."""
