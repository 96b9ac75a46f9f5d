"""
Tests that take minutes: C{tox -e slow}. They stand beside L{tests}, so that C{trial tests} does not
run them.
"""
