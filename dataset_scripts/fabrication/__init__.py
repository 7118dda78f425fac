"""How the raw tree of each corpus is laid out: a module a corpus, beside `tree` and `containers`.

To add a corpus, write a module named after it that holds a TREE; the folder is the registry.
"""
