"""The shell: everything around the engine that touches the bus, Discord, the disk and time."""
