"""Extends Heaters with a cut-list format, a detector and an export profile."""
