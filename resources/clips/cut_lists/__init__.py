"""Cut-list formats, one file each: the file has the name of its format and defines CUT_LIST_FORMAT."""
