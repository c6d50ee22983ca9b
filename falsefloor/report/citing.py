"""What a paper says of a run: the methods in a paragraph, and the entries to cite."""

from __future__ import annotations

import time
from collections.abc import Sequence

from falsefloor.report.text import clean
from falsefloor.store.rows import SeriesRow
from falsefloor.store.standing import RunInfo

PAPERS = {
    "clever": """@inproceedings{weng2018clever,
  title = {Evaluating the Robustness of Neural Networks: An Extreme Value Theory Approach},
  author = {Weng, Tsui-Wei and Zhang, Huan and Chen, Pin-Yu and Yi, Jinfeng and Su, Dong and Gao, Yupeng and
            Hsieh, Cho-Jui and Daniel, Luca},
  booktitle = {International Conference on Learning Representations},
  year = {2018},
  url = {https://arxiv.org/abs/1801.10578}
}""",
    "milp": """@inproceedings{tjeng2019mip,
  title = {Evaluating Robustness of Neural Networks with Mixed Integer Programming},
  author = {Tjeng, Vincent and Xiao, Kai and Tedrake, Russ},
  booktitle = {International Conference on Learning Representations},
  year = {2019},
  url = {https://arxiv.org/abs/1711.07356}
}""",
    "crown": """@inproceedings{zhang2018crown,
  title = {Efficient Neural Network Robustness Certification with General Activation Functions},
  author = {Zhang, Huan and Weng, Tsui-Wei and Chen, Pin-Yu and Hsieh, Cho-Jui and Daniel, Luca},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2018},
  url = {https://arxiv.org/abs/1811.00866}
}""",
    "average": """@inproceedings{athalye2018eot,
  title = {Synthesizing Robust Adversarial Examples},
  author = {Athalye, Anish and Engstrom, Logan and Ilyas, Andrew and Kwok, Kevin},
  booktitle = {International Conference on Machine Learning},
  year = {2018},
  url = {https://arxiv.org/abs/1707.07397}
}""",
}
"""By estimator, or by the setting that a study names."""
NOTE = """@misc{goodfellow2018masking,
  title = {Gradient Masking Causes {CLEVER} to Overestimate Adversarial Perturbation Size},
  author = {Goodfellow, Ian},
  year = {2018},
  url = {https://arxiv.org/abs/1804.07870}
}"""
_NORMS = {"l1": "ℓ1", "l2": "ℓ2", "linf": "ℓ∞"}


def methods(info: RunInfo, series: Sequence[SeriesRow]) -> str:
    """One paragraph: what was estimated, with what, and what a verdict means."""
    asked = [one for one in series if one.recovers is None]
    names = dict.fromkeys(
        f"{clean(one.estimator)} ({', '.join(f'{clean(k)} {clean(str(v))}' for k, v in one.params.items())})"
        for one in asked
    )
    norms = " and ".join(_NORMS.get(norm, norm) for norm in dict.fromkeys(one.norm for one in asked))
    versions = ", ".join(f"{name} {version}" for name, version in info.versions.items())
    return (
        f"Robustness was estimated in {norms} with {versions} (seed {info.seed}, {clean(info.device)}) by"
        f" {'; '.join(names)}. Each number was checked against what the function shows: an estimate is called"
        " refuted where a stored point of another class lies nearer than it claims, suspect where statistical"
        " evidence speaks against it, vacuous where it is far below the nearest point known, unchecked where"
        " nothing could contradict it, and held where no failure was found; held is no proof. Witnesses were"
        " evaluated again, alone and in their batch, before they counted."
    )


def bibtex(info: RunInfo) -> str:
    """The entries of this software and of the papers whose estimators were used."""
    year = time.gmtime(info.started).tm_year
    used = [entry for name, entry in PAPERS.items() if name in str(info.study)]
    version = info.versions.get("falsefloor", "")
    own = (
        "@software{falsefloor,\n  title = {falsefloor: robustness estimates that say whether they stand},\n"
        f"  author = {{{{The falsefloor maintainers}}}},\n  version = {{{version}}},\n  year = {{{year}}}\n}}"
    )
    return "\n\n".join([own, NOTE, *used])
