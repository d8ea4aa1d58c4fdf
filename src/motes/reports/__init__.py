"""One page that a person reads top to bottom: HTML without JavaScript, and with nothing to fetch."""
