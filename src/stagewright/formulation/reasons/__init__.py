"""Why a plan is as fast as it is, or why there is none; and what would help."""
