"""The closed loop: measure, plan, run, and set what was predicted beside what was measured.

``make reality``: each core of this machine stands for a GPU. ``feeds`` has the networks and their
minibatches, ``cores`` keeps processes on cores and makes one core slow, ``measured`` profiles and
writes the cluster, ``cuts`` chooses the plans to run, ``turns`` runs them by turns, ``verdict``
judges and ``loop`` does all of that in its order. docs/reality.md says how to read the table.
"""
