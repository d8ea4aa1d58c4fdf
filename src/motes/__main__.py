"""`python -m motes` is the command line."""

from motes.cli import main

if __name__ == "__main__":
    main()
