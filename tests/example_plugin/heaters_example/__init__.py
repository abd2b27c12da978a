"""Extends Heaters with a cut-list format and a detector."""
