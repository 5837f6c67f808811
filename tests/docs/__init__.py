"""The documentation is true: its code runs, its links lead somewhere, its tables say what the code says."""
