"""What the meta step and keeping all views of each image are worth on the digits, at the demo's size.

    python -m experiments.study --study=studies/digits_views.py --workdir=runs/digits_views \\
        --out=results/digits_views.json
"""

from configs import digits
from ssdkd_jax.jobs.study import Study
from studies.readings import of_ssdkd

# With crops by one pixel and no flip there are no more.
ALL_VIEWS = 9


def get_study():
    """The study of `digits.py`, at the demo's size."""
    config = digits.get_config()
    config.evaluate_every = 5
    variants = {
        "as the paper reads": {"method": "ssdkd_paper"},
        "all views kept": of_ssdkd({"meta_update": "fomaml", "views": ALL_VIEWS}),
        "no meta step": of_ssdkd({"meta_update": "none", "views": 0}),
        "no meta step and all views kept": of_ssdkd({"meta_update": "none", "views": ALL_VIEWS}),
    }
    return Study(config, variants, seeds=5)
