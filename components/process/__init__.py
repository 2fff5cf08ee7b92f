"""What every process of modbot does alike: settings from the environment, a steady clock, a clean
stop on SIGTERM, exit codes that a supervisor understands."""
