"""What the pages and the routes ask for: the review desk, actions, words."""
