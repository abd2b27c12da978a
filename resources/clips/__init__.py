"""What is made of clips for people: files, previews, search, lists, zips."""
