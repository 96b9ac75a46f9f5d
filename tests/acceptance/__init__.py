"""
The product as its users run it: real processes, in real network namespaces, behind real NATs.
"""
