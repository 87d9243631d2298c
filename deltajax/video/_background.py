"""A fixed background: a car park before a building, with texture at several scales."""

import numpy as np
from numpy.typing import NDArray


def draw_background(height: int, width: int, generator: np.random.Generator) -> NDArray[np.float32]:
    """Returns a picture, float32 [H, W, 3] with values in [0, 255].

    Smooth noise gives it texture at every scale, the building, the parked cars and the
    markings give it hard edges.
    """
    horizon = round(height * generator.uniform(0.3, 0.4))
    picture = np.empty((height, width, 3), np.float32)
    wall = np.array((120, 112, 104)) + generator.uniform(-20, 20, 3)
    ground = np.array((96, 98, 100)) + generator.uniform(-15, 15, 3)
    picture[:horizon] = wall
    picture[horizon:] = ground
    _draw_windows(picture[:horizon], generator)
    _draw_markings(picture, horizon, generator)
    _draw_cars(picture, horizon, generator)
    picture *= (1.0 + 0.08 * _smooth_noise(height, width, generator))[..., None]
    return np.clip(np.rint(picture), 0, 255)


def _smooth_noise(height: int, width: int, generator: np.random.Generator) -> NDArray[np.float32]:
    """Noise of unit variance, float32 [H, W], in octaves from half the picture to a pixel."""
    noise = np.zeros((height, width), np.float32)
    cell, amplitude = max(height, width) / 2, 1.0
    while cell >= 1:
        rows, columns = (max(2, round(extent / cell) + 1) for extent in (height, width))
        grid = generator.standard_normal((rows, columns)).astype(np.float32)
        noise += amplitude * _interpolate(_interpolate(grid, height).T, width).T
        cell, amplitude = cell / 2, amplitude * 0.72
    return noise / max(float(noise.std()), 1e-6)


def _interpolate(grid: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """Stretches the first axis to `length`, with smooth steps from one row to the next."""
    position = np.linspace(0, len(grid) - 1, length, dtype=np.float32)
    below = np.minimum(position.astype(np.intp), len(grid) - 2)
    fraction = position - below
    weight = (fraction * fraction * (3 - 2 * fraction))[:, None]
    return (grid[below] * (1 - weight) + grid[below + 1] * weight).astype(np.float32)


def _draw_windows(wall: NDArray[np.float32], generator: np.random.Generator) -> None:
    height, width = wall.shape[:2]
    columns = int(generator.integers(5, 9))
    pitch_x, pitch_y = width / columns, height / 2
    for row in range(2):
        for column in range(columns):
            top, left = round((row + 0.2) * pitch_y), round((column + 0.2) * pitch_x)
            bottom, right = round((row + 0.75) * pitch_y), round((column + 0.8) * pitch_x)
            wall[top:bottom, left:right] = 200  # the frame around the pane
            pane = wall[top + 1 : bottom - 1, left + 1 : right - 1]
            pane[:] = generator.uniform(25, 90) * np.array((0.8, 0.95, 1.1), np.float32)


def _draw_markings(
    picture: NDArray[np.float32], horizon: int, generator: np.random.Generator
) -> None:
    """White lines on the ground that meet in a vanishing point above the horizon."""
    height, width = picture.shape[:2]
    rows = np.arange(horizon, height, dtype=np.float32)[:, None]
    columns = np.arange(width, dtype=np.float32)
    depth = (rows - horizon) / (height - horizon)
    # From the size of the thing at the far edge to four times that at the near edge.
    scale = 1 + 3 * depth
    pitch = width / 9
    across = (columns - generator.uniform(0.3, 0.7) * width) / scale
    distance = np.abs((across + pitch / 4) % (pitch / 2) - pitch / 4) * scale
    line_width = 0.004 * width * scale
    coverage = np.clip(line_width - distance + 0.5, 0, 1)[..., None]
    ground = picture[horizon:]
    ground += 0.75 * coverage * (205 - ground)
    curb = max(1, round(0.02 * height))
    ground[:curb] = 150


def _draw_cars(picture: NDArray[np.float32], horizon: int, generator: np.random.Generator) -> None:
    """Parked cars in side view along the building."""
    height, width = picture.shape[:2]
    length = 0.16 * width
    glass, tyre = np.array((40, 46, 54), np.float32), np.array((22, 22, 24), np.float32)
    for left in np.arange(0.03, 0.9, 0.24) * width:
        left += generator.uniform(0, 0.06) * width
        colour = generator.uniform(30, 210, 3).astype(np.float32)
        body = 0.3 * length
        base = horizon + 0.10 * height
        _draw_box(picture, base - body, base, left, left + length, colour)
        _draw_box(
            picture,
            base - 1.75 * body,
            base - body,
            left + 0.2 * length,
            left + 0.8 * length,
            glass,
        )
        for axle in (0.22, 0.78):
            _draw_disc(picture, base, left + axle * length, 0.08 * length, tyre)


def _draw_box(
    picture: NDArray[np.float32],
    top: float,
    bottom: float,
    left: float,
    right: float,
    colour: NDArray[np.float32],
) -> None:
    rows, columns = slice(round(top), round(bottom)), slice(round(left), round(right))
    patch = picture[rows, columns]
    patch[:] = colour * np.linspace(1.1, 0.8, len(patch), dtype=np.float32)[:, None, None]


def _draw_disc(
    picture: NDArray[np.float32],
    row: float,
    column: float,
    radius: float,
    colour: NDArray[np.float32],
) -> None:
    height, width = picture.shape[:2]
    rows = np.arange(height, dtype=np.float32)[:, None]
    distance = np.hypot(rows - row, np.arange(width, dtype=np.float32) - column)
    coverage = np.clip(radius - distance + 0.5, 0, 1)[..., None]
    picture += coverage * (colour - picture)
