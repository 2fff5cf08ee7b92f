"""The outside's way in: interactions over HTTP, reads of guilds, the feed of facts."""
