"""`export`: what is known of versions and runs, in the words of other tools.

`croissant` and `ro_crate` describe one version and how it was made, `openlineage` all runs. They are JSON written
from the specifications; `exchange` chooses, and `described` looks up what they tell of.
"""
