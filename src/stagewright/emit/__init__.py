"""What a plan becomes: the partitioned graph that runtimes read."""
