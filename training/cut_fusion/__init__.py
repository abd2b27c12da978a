"""The learned fusion of the shot detector: a generator of labelled films, and the script that trains and tests the model on them.

README.md of this folder says how to run it.
"""
