"""Many planning problems at once: read from a file, run in parallel, resumed, tabled, drawn."""
