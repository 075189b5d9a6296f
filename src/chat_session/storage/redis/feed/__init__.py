"""The feed on Redis: one look at a session, and who is told when to look again.

``store`` is what the package uses. ``hub`` knows who listens to what. It has one ``subscription`` for each server, and
``polling`` finds what no notification told.
"""
