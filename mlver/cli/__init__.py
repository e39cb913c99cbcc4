"""The command line: parse, call one op, render its result. The only room that knows of typer, rich and the terminal.

main.py      process in, exit code out: the only exit, and the only place where errors are shown
app.py       the command tree, in which only the command that is asked for is imported
commands/    one module a command: its parameters, its op, its three views (document, brief, human)
output.py    what a command renders to; progress.py, pager.py and tables.py belong to it
"""

from __future__ import annotations
