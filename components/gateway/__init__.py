"""The gateway: pods that own guilds, apply their logs and act for them."""
