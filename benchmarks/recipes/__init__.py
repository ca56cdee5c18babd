"""Two ways to fit a network, compared on the same images and CPU time."""
