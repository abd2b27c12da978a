"""Embedders, one file each: the file has the name of its embedder and defines EMBEDDER."""
