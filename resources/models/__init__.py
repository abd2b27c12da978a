"""Detectors of cuts and embedders."""
