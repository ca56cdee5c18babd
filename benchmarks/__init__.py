"""Side-by-side comparisons, run by hand; each prints medians and ratios."""
