"""The client protocol: its messages, in JSON and in Protobuf, and its codes."""
