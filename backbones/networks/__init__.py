"""The families of networks and the blocks they are made of."""
