"""Retention: **what is to be kept, as rules → which versions go → `gc`**.

`rules` says what a policy keeps, purely; `settings` reads and writes policies in `config.toml`; `plan` makes a plan
that can be reviewed, and carries it out.
"""
