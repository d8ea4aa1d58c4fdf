"""Networks, denoisers, losses and the loop that trains them."""
