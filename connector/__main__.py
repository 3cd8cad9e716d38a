"""`python -m connector worker`, and the command `murmuration`: the same as `faust -A connector worker`."""

import sys

from connector.cli.inherited import VERSION


def main() -> None:
    """Run Faust's command line on our application."""
    if sys.argv[1:] == ["--version"]:  # works with wrong settings, too: the application is not built
        sys.stdout.write(f"{VERSION}\n")
        return
    from connector import app

    app.main()


if __name__ == "__main__":
    main()
