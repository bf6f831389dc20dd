"""The studies: Pyro models, guides and fits on the data of ``data_gen``.

Run one with ``python -m models NAME``.
"""
