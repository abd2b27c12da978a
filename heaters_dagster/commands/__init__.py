"""`heaters ...`, one file per group of commands. Each is thin: it gathers its arguments, calls the layer that does the work, and prints."""
