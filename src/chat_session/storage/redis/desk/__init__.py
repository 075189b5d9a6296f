"""The desk on Redis: steps of sessions in their own slots, and index entries that follow them in the desk's slot."""
