"""The way to the servers: pipelining, retries, redirects, topologies. Nothing here knows sessions or their keys.

In the order of a call: ``executor`` (retries, redirects) → ``topology`` and ``cluster`` (which server has the key) →
``pipeline`` (calls that share a round trip) → ``replies``. ``opening`` puts them together from options, ``faults``
tells errors apart, ``commands`` are what is sent, and ``private`` lists what we use of redis-py without a public name.
"""
