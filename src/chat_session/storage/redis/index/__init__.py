"""Index entries: which sessions there are, and when each must be checked.

A session has two entries: one among the deadlines (``due``), one in its user's list. ``entries`` has what the other
files share. ``server`` keeps the entries correct on one server, and ``cluster`` on a cluster, where they are on other
nodes than the session. ``due`` checks those that are due.
"""
