"""The package behind *Training Deep Networks in Practice*.

Data flow one way: datasets -> models -> train -> Result -> compare -> claims and plots -> chapter.
A file imports only from rooms above its own in this list; topics, at the end, are what the chapters
are made of, and no room above imports them.

    checks         checks of single arguments
    stacks         R copies of the parameters in one block of memory
    philox         random numbers on CUDA: one kernel for all runs
    streams        random numbers of R runs, the same alone or among fifty, on every device
    types          records and protocols: Dataset, Recipe, Rule, Arm, Result, Interval, Claim
    machine        the CPUs that may be used, processes that end with their parent
    runtime        device, profile, workers, a run's first random draws, the folder for results
    dependencies   one digest of all the code and values that a result depends on
    workers        parallel map over the cores
    storage        atomic, checksummed files
    ops            pure functions of tensors that the core and several topics use
    published      CIFAR-10 and MNIST as they were published: files checked, fetched, read
    datasets       data sets by name, as tensors
    augment        transforms and mixup of a batch before a step
    models         the small networks of the book and how their weights are drawn
    rules          how parameters change: SGD, Adam, evolution, feedback, local learning
    probes         measurements beside loss and accuracy that several chapters use
    train          the one training loop; runs of many recipes, grouped into stacks
    profiles       the size of an experiment in the full profile
    landscape      loss and gradient around the steps of a run (any network)
    study          arms x seeds -> a Result, stored on disk
    compare        paired differences, intervals, grids
    claims         a statement, what was measured, a verdict; the ledger
    plots          Results -> Axes, in one style
    listing        the source of a function, shown in a chapter
    explore        sliders, live in Jupyter and pre-rendered in static HTML
    grading        the exercise and the check that a student sees
    topics         one folder a topic: equations, exercises, figures, experiments, statements
    exercises      the catalogue of the topics' exercises, found by name
    notebook       what a chapter imports in one line
    cli            labsupport lab | exercises | claims | doctor

Importing the package does no work.
"""
