"""The mathematics of the forward process; imports nothing of the rest of motes."""
