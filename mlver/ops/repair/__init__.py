"""`verify --repair`: damaged **logs → manifests → packs → chunks**, from what is sound here and from elsewhere.

`logs` puts events right, `manifests` manifests; `packs` saves the sound frames of damaged packs; `chunks` gets the
others from remotes and from folders that still hold the files, which `sources` has open; `quarantine` keeps what was
replaced; `repair` does all of it, in this order, and looks again. Nothing is ever thrown away.
"""
