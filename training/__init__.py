"""What is run by hand to make the models that Heaters carries; nothing here is part of the installed program."""
