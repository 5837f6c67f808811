"""Other libraries' interfaces on everwire's connections: for trying it, or moving to it."""
