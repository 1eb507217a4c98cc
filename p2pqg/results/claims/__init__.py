"""Claims: what a study says of its runs, by a rule that is written down before them.

    claim:
      says: Where clients are unlike, quasi-global momentum is ahead of local momentum.
      metric: test_accuracy                  # a result of the runs; this one if none is named
      left: {algorithm: qg-dsgdm-n}          # runs, by their settings
      right: {algorithm: dsgdm-n}            # without it the metric of `left` is judged by itself
      by: difference                         # left - right; or ratio, left / right
      where: {alpha: 0.1}                    # settings of both sides
      each: {topology: [ring16, social32]}   # one comparison for each of these, and all must hold
      holds_if: {above: 0}                   # or below: X, or within: [low, high]

Several claims are a mapping of names to such mappings. A side may itself be a comparison, {left,
right, by}, so that a difference of differences can be judged. Where a side does not name its
learning rate, runs at the tuned one count, as in tables; `tune: [algorithm.mu]` names more keys of
which each side has its best, all at once, of equally many tries.

How a comparison is judged. It has one value for each seed: left and right of the same seed, which
share their start, and where they have the same clients their shards and batches. The 95 % interval
of the mean is Student's, with n - 1 degrees of freedom; ratios are judged by their logarithms, so
that the mean is geometric. Where the interval keeps to the side of the rule's bounds it holds,
where it keeps to the other side it does not, else it is undecided. All comparisons of a recipe are
one family: by Holm's procedure the probability of even one wrong verdict is at most 5 %. Two seeds
that agree to rounding have an interval without width, which is no evidence: that is undecided.

`claim.py` is the rule as it was written down; `values.py` finds the runs it speaks of and compares
them, seed by seed; `findings.py` says how sure a comparison is; `verdicts.py` what becomes of the
claim, and `folder.py` that of those of a sweep.
"""

from p2pqg.results.claims.claim import Claim, read_claims
from p2pqg.results.claims.findings import ERROR, HOLDS
from p2pqg.results.claims.folder import judge_folder
from p2pqg.results.claims.verdicts import Verdict, check, judge, lines, over_seeds

__all__ = [
    "ERROR",
    "HOLDS",
    "Claim",
    "Verdict",
    "check",
    "judge",
    "judge_folder",
    "lines",
    "over_seeds",
    "read_claims",
]
