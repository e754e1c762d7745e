"""Images of any number of channels and size, as a page shows them."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from ssdkd_jax.reports.thumbnails import image_uri


def picture_of(image):
    return Image.open(io.BytesIO(base64.b64decode(image_uri(image).partition(",")[2])))


@pytest.mark.parametrize(("side", "shown_side", "kind"), [(32, 32, "PNG"), (128, 96, "JPEG")])
@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "L"), (3, "RGB"), (4, "L"), (5, "L")])
def test_a_picture(side, shown_side, kind, channels, mode):
    image = np.random.default_rng(0).integers(0, 256, (side, side, channels), dtype=np.uint8)
    picture = picture_of(image)
    assert (picture.format, picture.mode, picture.size) == (kind, mode, (shown_side, shown_side))
    if (kind, channels) in (("PNG", 1), ("PNG", 3)):
        np.testing.assert_array_equal(np.asarray(picture).reshape(image.shape), image)
