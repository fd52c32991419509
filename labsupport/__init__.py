"""The package behind *Training Deep Networks in Practice*.

Data flow one way: datasets -> models -> train -> Result -> compare -> claims and plots -> chapter. A file imports only
from rooms above its own in this list:

    contracts      the nouns: Split, Recipe, Rule, Arm, Result, Interval, Claim
    runtime        device, profile, workers, one random generator a run, the folder for results
    workers        work shared out over the cores
    storage        files that are whole or not there
    reference      the lecture's equations as pure functions, one module a topic
    published      CIFAR-10 and MNIST as they were published: files checked, fetched, read
    datasets       a name -> tensors
    augment        what a batch goes through before a step: transforms, mixup
    stacks         R copies of the parameters in one block of memory
    models         the small networks of the book
    rules          how parameters change: SGD and Adam for R runs at once
    probes         what else can be measured of R runs, one module a theme
    train          the one training loop
    profiles       what an experiment becomes in the full profile
    trajectories   runs compared step by step
    landscape      the loss around a run, step by step
    study          arms x seeds -> a Result, kept on disk
    compare        paired differences, intervals, grids
    claims         a statement, what was measured, a verdict; the ledger
    plots          Results -> Axes, in one style
    listing        the source of a function, shown in a chapter
    explore        sliders, live in Jupyter and pre-rendered in static HTML
    toys           the small worlds that a chapter's explorers draw, one module a topic
    grading        what an exercise is, and the check that a student sees
    exercises      the shelf of exercises, one module a topic
    cli            labsupport lab | exercises | claims | doctor

Importing the package does no work.
"""
