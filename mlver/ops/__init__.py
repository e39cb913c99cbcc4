"""The verbs: one module each, plain values in, frozen dataclasses out. They know no terminal and no environment."""
