"""How the book is built.

    chapters/*.ipynb -> execute -> _build/executed -> assemble -> _build/source -> render ->
    _build/html

layout.py   where things are, and which pages the book has
keys.py     what an executed chapter depends on, as one digest
execute.py  a chapter run in a fresh kernel, kept under its key
render.py   pages and executed chapters put together and turned into HTML
book.py     the command: all of the above, and only what has changed

A notebook cache that looks at the notebook alone would ship stale figures after a change in
labsupport. Here a kept chapter remembers which definitions of the package it reached, and its prose
is left out: it can be rewritten without a rerun.
"""
