"""What each step of the pipeline does, one module per step.

A step takes paths, records and recipes, and fills the folder it is given; it knows nothing of
scales and chapters. An artefact's key holds the source of its step's module and of all that this
imports, so what a step does not need must not be imported there.
"""
