"""References, files of a version that stay where they are: found, recorded, checked and downloaded through a cache.

add:   URIs → listing → paths → what identifies each (→ content, where nothing else does) → manifest
pull:  cache, or: compare with the server → ranges → hash → compare → file → cache
"""
