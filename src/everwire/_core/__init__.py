"""The native core: frames, heads, compression, the reactor. Private; use the names exported by ``everwire``."""
