"""One file per page of the review app; each has `show(desk, session)`."""
