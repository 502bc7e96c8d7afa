from temperature import to_fahrenheit


def test_water_freezes():
    assert to_fahrenheit(0) == 32


def test_water_boils():
    assert to_fahrenheit(100) == 212
