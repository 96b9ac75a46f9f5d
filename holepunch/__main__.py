"""
C{python -m holepunch}: the same as the program C{holepunch}.
"""

from holepunch.cli.main import main

main(prog_name="holepunch")
