"""`python -m ddpm_lite`, the same as the command `ddpm-lite`."""

from ddpm_lite.runs.cli import main

if __name__ == "__main__":
    main()
