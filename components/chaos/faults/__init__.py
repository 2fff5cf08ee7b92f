"""The faults, one module a family. Each does its harm, ends it and says what it was."""
