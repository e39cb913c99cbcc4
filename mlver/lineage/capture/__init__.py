"""What is recorded of the circumstances of a run: code, interpreter, machine, environment. Nothing secret."""
