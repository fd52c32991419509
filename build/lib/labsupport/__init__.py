"""The package behind *Training Deep Networks in Practice*.

Data flow one way: datasets -> models -> train -> Result -> compare -> claims and plots -> chapter.
A file imports only from rooms above its own in this list; topics, at the end, are what the chapters
are made of, and no room above imports them.

    types          the nouns: Dataset, Recipe, Rule, Arm, Result, Interval, Claim
    runtime        device, profile, workers, one random generator a run, the folder for results
    workers        work shared out over the cores
    storage        atomic, checksummed files
    ops            what the core and several topics compute with: pure functions of tensors
    published      CIFAR-10 and MNIST as they were published: files checked, fetched, read
    datasets       a name -> tensors
    augment        what a batch goes through before a step: transforms, mixup
    stacks         R copies of the parameters in one block of memory
    models         the small networks of the book and how their weights are drawn
    rules          how parameters change: SGD and Adam for R runs at once
    probes         what several chapters measure of R runs beside loss and accuracy
    train          the one training loop
    profiles       what an experiment becomes in the full profile
    landscape      the loss around a run, step by step
    study          arms x seeds -> a Result, kept on disk
    compare        paired differences, intervals, grids
    claims         a statement, what was measured, a verdict; the ledger
    plots          Results -> Axes, in one style
    listing        the source of a function, shown in a chapter
    explore        sliders, live in Jupyter and pre-rendered in static HTML
    grading        what an exercise is, and the check that a student sees
    topics         one folder a topic: equations, exercises, figures, experiments, statements
    exercises      the catalogue of the topics' exercises, found by name
    notebook       what a chapter imports in one line
    cli            labsupport lab | exercises | claims | doctor

Importing the package does no work.
"""
