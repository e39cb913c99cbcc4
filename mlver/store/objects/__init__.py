"""Objects of other people, which are only ever read: what identifies them, what is below a prefix, and their bytes."""
