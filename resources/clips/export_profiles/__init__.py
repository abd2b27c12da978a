"""Export profiles, one file each: the file has the name of its profile and defines EXPORT_PROFILE."""
