"""Models: the two-track transformer over atoms and pairs, and the heads that answer questions about its tracks."""
