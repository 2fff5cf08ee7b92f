"""Looks into backups and puts back from them: drills, and one guild as it was at a time."""
