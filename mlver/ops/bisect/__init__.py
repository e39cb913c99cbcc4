"""`bisect`: which version broke it, found by judging few of them.

`search` chooses the next one to judge and knows when it is found; `bisect` gets the versions, has them judged and keeps
a record of what was said, so that an interrupted search goes on.
"""
