"""The programs that the suites are held against: echo servers and clients, run as processes of their own."""
