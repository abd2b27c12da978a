"""Everything that reads and writes Postgres: the tables, one store per noun, the review transaction."""
