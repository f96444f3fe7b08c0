"""``python -m starterkit`` is ``starterkit``."""

from starterkit.cli import main

if __name__ == "__main__":
    main()
