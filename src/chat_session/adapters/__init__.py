"""Sessions for agent frameworks. Each module imports its own framework and no other; install it as an extra."""
