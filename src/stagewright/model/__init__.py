"""What is planned: layer graphs, clusters, costs, plans and their evaluation.

No solver and no torch: everything here is plain data and arithmetic.
"""
