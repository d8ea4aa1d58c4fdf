"""Points to learn from: the zoo of 2-D shapes, and tables from files."""
