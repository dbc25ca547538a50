"""The command line: parse arguments, make one call into `api` or `bench`, show what came back."""
