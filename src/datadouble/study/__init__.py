"""Reader studies: protocols, images that do not give their origin away, stored answers, and their statistics.

Nothing heavy is imported here: each command imports what it needs.
"""
