"""What is used of other packages beyond their public names: a file for each package, with the reason.

Each file says for which versions it was read; the tests beside it (`tests/foreign`) name it when an upgrade breaks it,
and find private names that are used elsewhere.
"""
