"""Folders and files of this machine that belong to their owner only."""
