"""How a plan is found: planners, from the published ones to the exact ones."""
