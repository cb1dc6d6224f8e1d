"""`python -m stylizer` is `stylizer`."""

from stylizer.cli import main

if __name__ == "__main__":
    main()
