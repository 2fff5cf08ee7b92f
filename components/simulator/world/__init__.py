"""What exists in the simulated Discord, and how it looks as JSON. No rules and no network here."""
