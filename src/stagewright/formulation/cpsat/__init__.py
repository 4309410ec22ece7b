"""The node-level CP-SAT model: variables, constraints, objective and search."""
