"""Config: places guilds on pods, keeps their registry and history, answers operators."""
