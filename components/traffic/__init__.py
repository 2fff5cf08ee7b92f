"""Traffic for the simulated Discord: texts posted by members, and the report on what became of
them, checked against the simulator's own record."""
