"""The first responder's half of an interaction, shared by the components that receive them."""
