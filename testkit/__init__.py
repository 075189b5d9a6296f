"""What tests/, chaos/ and benchmarks/ share: the servers they start and the stores they run on.

It is not part of the installed package. Nothing here imports pytest, so that benchmarks can use it without.

Programs and processes

    programs             finds redis-server, valkey-server and their tools; raises ``MissingProgram``
    ports                free ports of this machine
    servers              one server process: start, stop, kill, freeze
    topology             what Sentinel and Cluster have in common: a node, and waiting until all is healthy
    sentinel             one primary, two replicas and three sentinels
    cluster              three primaries with a replica each; slots can be moved
    tls                  certificates, and a server that speaks TLS only
    lua54                a server whose scripts run under Lua 5.4
    fault_proxy          a TCP proxy that loses, breaks and delays replies
    descriptors          the sockets and files that this process has open

Stores under test

    backends             every store and topology by name, behind one interface
    every_call           makes every call of the package, for tests with hostile data and answers
    desk_sessions        sessions that wait for a person, and what is done with them
    edge_case_sessions   sessions with rare content, for tests that copy sessions
    present              for values that may be None, but not in the test at hand

Other programs

    command_line         starts a command of the package; what it answered
    terminal             a command on a pseudo-terminal
    pythons              the other releases of Python on this machine
"""
