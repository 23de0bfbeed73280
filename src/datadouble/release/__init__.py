"""What may leave: formats of others, and the sealed release."""
