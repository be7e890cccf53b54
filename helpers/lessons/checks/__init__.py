"""The exercises' checks: `check_NN_k(answer)` says whether exercise k of lesson NN is right, and if not, why not yet.

One module a lesson; `verdict` is what they share. A check never raises and never says only "wrong".
"""
