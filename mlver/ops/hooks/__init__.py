"""Hooks: programs of a person's own in `.mlver/hooks/`, told what happens there and asked before it does.

`found` says which may be run, `execution` runs one, `documents` has what they are told, and `hooks` ties it to verbs.
They are this machine's: nothing ever brings one from elsewhere.
"""
