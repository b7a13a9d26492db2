"""`python -m spartanc` is the `spartanc` command."""

from spartanc.compiler.cli import main

if __name__ == "__main__":
    main()
