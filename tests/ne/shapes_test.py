"""Whatever names shapes in its signature has them checked."""

import pytest

from tests.shapes import unchecked


@pytest.mark.parametrize("folder", ["common/ne"])
def test_every_function_that_names_shapes_has_them_checked(folder: str) -> None:
    assert unchecked(folder) == []
