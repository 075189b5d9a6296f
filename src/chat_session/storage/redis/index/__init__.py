"""Index entries: which sessions there are, and when each must be checked.

A session has two entries: one among the deadlines (``due``), one in its user's list. ``server`` keeps them correct on
one server, ``cluster`` on a cluster, where they are on other nodes than the session; ``due`` checks those that are due.
"""
