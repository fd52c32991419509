"""How fast labsupport trains, beside other ways of doing the same work."""
