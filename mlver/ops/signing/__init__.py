"""Signatures: somebody's word, checked by anybody who has their public key, that a version is what they made.

The way of the data: version → SHA-256 of every file → statement → signature → event. And back: event → statement,
whose signature is a trusted key's → compared with the version that is there.
"""
