"""One folder a topic, one topic a chapter. Nothing in the core imports from here.

A topic's folder has as many of these files as it needs:

    reference        the lecture's equations as pure functions, and the diagnosis of a log
    faults           implementations with one fault, where a diagnosis compares with them
    exercises        the functions that students rebuild, each with its known wrong answers
    figures          functions that draw
    experiments      functions that train or simulate
    probes           measurements of a network beside its loss
    statements.toml  the lecture's statements that the chapter measures

A file with a subject of its own has a name of its own. Nothing is registered: exercises and
statements are found by the names of their files, and the book's API reference gets a page for the
``reference`` of each chapter. CONTRIBUTING.md has the steps.
"""
