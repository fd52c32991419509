"""One folder a topic, one topic a chapter. Nothing in the core imports from here.

A topic's folder has as many of these files as it needs:

    reference        the lecture's equations as pure functions
    exercises        what students rebuild, each with its known wrong answers
    figures          what draws
    experiments      what trains
    probes           what is measured of a network beside its loss
    statements.toml  the lecture's statements that the chapter measures

A file with a subject of its own has a name of its own. Nothing is registered: exercises and
statements are found by the names of their files, and the book's API reference gets a page for the
``reference`` of each chapter. CONTRIBUTING.md has the steps.
"""
