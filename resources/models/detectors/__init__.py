"""Shot detectors: `interface.py` says what one does, one file each, `registry.py` finds them by the name of the setting."""
