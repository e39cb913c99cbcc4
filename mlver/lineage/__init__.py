"""Runs and what they leave: circumstances, courses of metrics, and the graph of what followed from what."""
