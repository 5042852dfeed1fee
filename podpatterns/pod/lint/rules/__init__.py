"""The rules, by what they are about: each file ends in a tuple `RULES`."""
