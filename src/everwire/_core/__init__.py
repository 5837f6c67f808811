"""The native core: frames, heads, compression, the reactor. Private: use what ``everwire`` exports."""
