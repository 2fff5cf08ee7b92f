"""What chaos does inside the stack's processes: loaded by their interpreters, never by modbot."""
