"""One file per asset: gather, decide, apply."""
