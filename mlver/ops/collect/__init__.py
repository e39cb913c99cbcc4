"""`gc`: what is used → what may go → set aside → looked at once more → deleted.

`kept` says which manifests stay, from the logs; `stock` what is in the packs; `plan` what is to happen to each pack;
`collect` does it. `mlver.ops.reliance` is the other side: how a writer makes sure that what it relies on stays.
"""
