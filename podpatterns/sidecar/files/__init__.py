"""Following log files: finding them, telling one from another, reading what was added. Used by the `tail` input."""
