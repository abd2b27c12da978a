"""Extends Heaters with a cut-list format."""
