"""The page of `ser-generalize space`: a folder that a Space runs as it lies.

Its modules find one another by their bare names, as beside `app.py` in a Space; nobody imports them
from here. It is a package so that an installation takes it along.
"""
