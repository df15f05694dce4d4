import numpy as np

from pictures.run_pictures.heat_overlay import MOST, lay_heat


def test_cold_places_stay_as_they_are_and_the_warmest_are_red():
    pixels = np.full((2, 3, 3), 100, dtype=np.uint8)
    heat = np.zeros((2, 3))
    heat[0, 0], heat[1, 2] = 8.0, 2.0
    found = lay_heat(pixels, heat)
    assert found.dtype == np.uint8 and (found[0, 1:] == 100).all() and (found[1, :2] == 100).all()
    # The last colour of "turbo" is (0.48, 0.016, 0.011).
    expected = 100 + MOST * (255 * np.array([0.4796, 0.01583, 0.01055]) - 100)
    assert np.abs(found[0, 0] - expected).max() < 1
    assert (found[1, 2] != 100).any() and found[1, 2, 2] > found[0, 0, 2]  # cooler: bluer
    assert (pixels == 100).all()


def test_without_heat_the_picture_stays():
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert np.array_equal(lay_heat(pixels, np.zeros((2, 2))), pixels)
