"""Where source videos come from: paths, the web, buckets; with checks of what may be read."""
