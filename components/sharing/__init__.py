"""How a limit is shared among pods so that its parts never exceed it (0007-rest-shares)."""
