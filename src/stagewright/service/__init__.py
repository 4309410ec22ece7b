"""The planning service: requests in, jobs in a database, solves in processes of their own.

``app`` answers HTTP, ``intake`` turns a request into a problem, ``store`` keeps the jobs,
``supervisor`` runs them in ``worker`` processes. ``client`` is the other end.
"""
