"""The store: immutable blobs, packs of encoded chunks, and the index that finds a chunk in them.

It comes after `codec` on the way in and before it on the way out, and knows nothing of models or versions.
"""
