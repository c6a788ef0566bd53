"""Images on the server: taken in, kept, found again."""
