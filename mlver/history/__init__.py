"""What happened to artifacts: manifests, numbered events, their logs, and the index folded from them."""
