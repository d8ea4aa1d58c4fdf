"""How good is it? Two arrays in, a number out."""
