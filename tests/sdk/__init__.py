"""Other people's clients of the protocol against everwire, and its answers beside Centrifugo's own."""
