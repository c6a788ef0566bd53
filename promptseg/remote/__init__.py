"""A session on another machine, with the same verbs as one here."""
