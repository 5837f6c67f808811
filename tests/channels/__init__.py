"""The hub: in this process, with the real engine and codec; only the transport is the tests' own."""
