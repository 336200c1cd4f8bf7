"""How good samples are: distances to real images, and the networks whose features they use."""
