"""Temperatures."""


def to_fahrenheit(celsius):
    """The temperature in degrees Fahrenheit: 0 °C is 32 °F, and 100 °C is 212 °F."""
    return celsius * 9 / 5 + 32
