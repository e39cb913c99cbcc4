"""`gc --remote`: what a remote uses → what may go → said there → looked at once more → deleted.

A bucket knows no renaming, so nothing can be set aside there. Instead a collector publishes a *claim*, which names what
it is about to delete. `claims` reads and writes these, `survey` finds out what is used, `collect` does the work;
`mlver.ops.remotes.securing` is the other side: how a push makes sure that what it relies on stays.
"""
