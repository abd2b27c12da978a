"""`heaters up`: all parts on this machine, supervised."""
