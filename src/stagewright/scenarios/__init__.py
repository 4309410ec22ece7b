"""Named workloads and clusters, and comparisons of planners on them."""
