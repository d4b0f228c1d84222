"""Explorers: interactive figures, live in Jupyter and Colab, and on a static page without a kernel.

Each is a ``NAME.py`` and a ``NAME.js``. All drawing and arithmetic of a figure is in its
JavaScript, which imports nothing; the Python side holds the data and the same formulas, and a test
compares the two.
"""
