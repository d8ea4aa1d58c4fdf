"""A trained model of points, and one of a table: what they are fitted to, and what they answer."""
