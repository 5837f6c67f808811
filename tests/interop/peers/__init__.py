"""Other libraries' WebSockets, each in a process of its own that tests control: see ``peers/control.py``."""
