"""The two papers reproduced: what they published, what they claim, and whether it holds.

    published/      their results as CSV: exact points, digitised figures, parameter counts
    curves.py       Point and Curve: accuracy against what is left of a network
    published.py    the CSVs as curves              ours.py     runs of quatgrad.lth as curves
    measure.py      gaps at equal size, crossovers, collapse, jitter
    claims.py       each claim of the papers, judged from curves
    verify.py       our curves beside the published ones, and the claims, as text
    figures.py      pictures in the papers' form, and beyond it
    experiments.py  every figure and table by name, and how it is run at three scales
    reproduce.py    the command: python experiments/reproduce.py

*Large Neural Networks at a Fraction*, PMLR 233:165-173 (2024): ResNets on CIFAR-100 and ImageNet64.
Its predecessor, *Neural Networks at a Fraction with Pruned Quaternions*, CODS-COMAD 2023,
arXiv:2308.06780: LeNets on MNIST, conv nets on CIFAR-10 and CIFAR-100.
"""
