"""``everwire bench``: a load generator. The command, the processes that make the load, its report."""
