"""Graph passes, one a file; the ordered pipeline with its reasons stands here."""
