"""``python -m everwire.cli``: the command line where its script is not on the path."""

from everwire.cli import main

if __name__ == "__main__":
    main()
