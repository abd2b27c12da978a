"""The pure core: standard library and numpy only; import-linter holds it to that."""
