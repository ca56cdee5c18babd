"""The subcommands, one module each: `add` declares its arguments, `run` does the work."""
