"""Sessions at work: in memory, held by someone, queued for a model, brought back from disk."""
