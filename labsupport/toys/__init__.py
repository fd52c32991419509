"""Small worlds to look at: one module a topic, pictures that a chapter's explorer draws."""
