"""`watch`: something is done for each event of a kind, once each, across restarts and renumbering.

`conditions` says of which kind, `journal` what was done, and `watch` finds what is to be done and does it.
"""
