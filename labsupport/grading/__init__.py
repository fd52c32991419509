"""What an exercise is, and the check a student sees in the notebook.

    exercise.py   the nouns: Exercise, Misconception, Counterexample, Outcome
    values.py     copy a value, show it as code, without ever calling the student's own methods
    compare.py    compare a value with the expected one; the first difference in words
    clock.py      a call with a limit on what it computes and on how long it takes
    ambient.py    torch's, NumPy's and Python's settings as in a fresh session
    sandbox.py    a student's call: bounded output, no exit, their own lines of a traceback
    inputs.py     pieces of input strategies that exercises share
    battery.py    the fixed inputs of an exercise, and the search for the smallest counterexample
    check.py      the order of the questions, and the words of the answers
    card.py       an outcome as HTML, plain text and Markdown

The check runs in the student's own kernel and is there to teach. It stops honest accidents, not an
attacker: ``os._exit``, a crash in C code, or a loop inside one C call (``sum(itertools.count())``)
still take the kernel along.
"""
