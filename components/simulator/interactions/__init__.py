"""Interactions: commands, components and modals, delivered over the gateway or signed over HTTP."""
