"""Code that runs outside of gitreg's own process: inside packages, and in the child that tests them.

Nothing here imports gitreg. `triton_model.py` becomes a package's `model.py`, `user_model.py` keeps its
name; `child.py` runs the user's code for `build`, `verify`, `check` and `predict`; `arrays.py` is what
the two processes say to each other.
"""
