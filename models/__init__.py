"""The studies: fits on the data of ``data_gen``, each judged by the truth that is known there.

Run one with ``python -m models NAME`` to see what the library does on a problem of the paper:
``wells``, ``mechanochemistry``, ``schlogl``, ``elasticity`` or ``waddington``; ``modes`` asks of a
CSV file of yours how many modes it has. Each study is the module of that name, its figures are in
``NAME_figure``.
"""
