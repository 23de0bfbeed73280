"""``python -m datadouble``: what ``torchrun -m datadouble`` starts on each device."""

from datadouble.cli import main

if __name__ == "__main__":
    main()
