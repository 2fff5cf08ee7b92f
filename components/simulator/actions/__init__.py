"""What can be done in Discord, with its rules. The bot (REST) and people (control) do it alike."""
