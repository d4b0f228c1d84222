"""The claims of the paper as experiments: each ablation, running them in parallel, verdicts over
seeds.
"""
