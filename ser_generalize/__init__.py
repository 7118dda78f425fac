"""Speech emotion recognition that says how well it travels.

Importing this package is cheap on purpose: nothing here pulls in torch. The rooms of the house are
described in the README; imports between them go one way and `tests/test_house.py` holds that.
"""

__version__ = "0.1.0"
