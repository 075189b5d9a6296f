"""Where sessions are kept: one contract, one folder per store."""
