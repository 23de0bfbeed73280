"""The command line: one small module a verb, each importing what is heavy only when it runs."""


def main() -> None:
    """Run the command line and exit: 0 done, 1 problems were found or something failed, 2 wrong use."""
    from datadouble.cli.app import app

    app()
