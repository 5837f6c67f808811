"""web-platform-tests, the folder websockets, ported case by case."""
