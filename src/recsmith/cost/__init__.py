"""Cost models: the only place where strategies and platforms meet."""
