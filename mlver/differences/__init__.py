"""What differs between two plain things: numbers, nested values, texts. It knows nothing of versions and stores.

diff: revisions → manifests → pairs of tensors and files → **what differs, and how much** → one result → views
"""
