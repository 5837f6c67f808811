"""The hub beside a model: random things happen, and each subscriber's messages are checked."""
