"""The command line, as `python -m motes`."""

from motes.cli import main

if __name__ == "__main__":
    main()
