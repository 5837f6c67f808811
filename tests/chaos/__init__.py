"""Clients that are cut off in the middle of everything, a server that is killed, and a count afterwards."""
