from __future__ import annotations

import numpy as np

from maskexp.overlay import visible_part


def test_visible_part_keeps_what_is_attributed() -> None:
    image = np.ones((1, 2, 3))
    assert visible_part(image, np.array([[1.0, 0.0]]), dimmed=0.25)[0, :, 0].tolist() == [1.0, 0.25]
