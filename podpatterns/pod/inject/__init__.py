"""Injection: adds our containers to a workload without touching its own, and takes them out again.

What is added is a list of operations on the object (`operations`). The same list becomes text between markers in a
manifest, a JSON patch, and what an admission webhook answers.
"""
