"""The CP-SAT model as a mixed-integer linear programme, and its solvers."""
