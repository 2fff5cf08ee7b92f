"""The spam pipeline's pure parts: what a message says, what its author did lately, the score."""
