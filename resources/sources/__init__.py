"""Where source videos come from: paths, the web, buckets; guarded."""
