"""Made photographs for the examples: figures whose clothes are theirs, seen by two cameras with light of their own."""

import csv
from pathlib import Path

import keras
import numpy as np

HEIGHT, WIDTH, IMAGES = 64, 32, 5


def figures(folder, number=60, seed=0):
    """Write `number` figures, five images of each by either camera, unless they are there.

    Half of the figures are for training. Of the others the first image of camera 1 is a query, the rest the gallery.

    Returns:
        The table, `people.csv` in the folder, with the columns path, identity, camera and split. The images lie in
        `images/<identity>/`.
    """
    table = Path(folder) / "people.csv"
    if table.is_file():
        return table
    generator = np.random.default_rng(seed)
    light = generator.uniform(0.8, 1.1, (2, 3))
    rows = []
    for identity in range(number):
        colors = generator.uniform(0, 255, (3, 3))
        (table.parent / "images" / f"{identity:03d}").mkdir(parents=True)
        for camera in (0, 1):
            for image in range(IMAGES):
                path = f"images/{identity:03d}/camera{camera + 1}_{image}.png"
                keras.utils.save_img(table.parent / path, _seen(generator, colors, light[camera]), scale=False)
                is_query = camera == 0 and image == 0
                split = "train" if identity < number // 2 else "query" if is_query else "gallery"
                rows.append([path, identity, camera + 1, split])
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([["path", "identity", "camera", "split"], *rows])
    return table


def _seen(generator, colors, light):
    """Head, shirt and trousers somewhere before a wall, in the light of a camera."""
    image = np.full((HEIGHT, WIDTH, 3), generator.uniform(80, 200, 3))
    top, left = generator.integers(2, 10), generator.integers(4, 12)
    for color, (first, last, width) in zip(colors, [(0, 9, 6), (10, 30, 16), (31, 52, 12)], strict=True):
        middle = left + 8
        image[top + first : top + last, middle - width // 2 : middle + width // 2] = color
    noisy = image * light * generator.uniform(0.9, 1.1) + generator.normal(0, 10, image.shape)
    return np.clip(noisy, 0, 255).astype("uint8")
