"""`heaters ...`, one file per group of commands. Each is short: it reads its arguments, calls the layer that does the work, and prints."""
