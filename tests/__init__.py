"""The tests of manifestgen; `python3 -m tests` runs them."""
