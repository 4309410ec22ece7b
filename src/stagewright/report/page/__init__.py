"""The report: one page that says everything about a plan, without any other file."""
