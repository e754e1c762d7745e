"""Whether phi helps where an image has many classes: SSD-KD on small CamVid without each part of it.

    python -m experiments.study --study=studies/camvid_phi.py --workdir=runs/camvid_phi --jobs=2 \\
        --out=results/camvid_phi.json

CamVid is expected in the folder camvid, for which a link will do; docs/segmentation.md says what is in it.
"""

from configs import camvid
from ssdkd_jax.jobs.study import Study


def get_study():
    """The study of `camvid.py:small` with 30 epochs."""
    config = camvid.get_config("small")
    config.update(epochs=30, data_dir="camvid")
    return Study(
        config,
        variants={
            "default": {},
            "no diversity": {"ssdkd.use_diversity": False},
            "no difficulty": {"ssdkd.use_difficulty": False},
            "no phi": {"ssdkd.modulated_term": "none"},
        },
        seeds=3,
    )
