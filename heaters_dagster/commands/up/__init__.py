"""`heaters up`: runs and supervises all parts on this machine."""
