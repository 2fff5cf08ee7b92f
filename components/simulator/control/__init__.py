"""The control API: everything people and fate do in Discord, for tests, traffic and pages."""
