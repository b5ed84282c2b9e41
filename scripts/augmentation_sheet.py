"""Draw a sheet of augmented digits: each row one image, first as it is, then changed anew."""

import argparse

import numpy as np
from matplotlib.image import imsave

from backprop_xp import load_dataset
from backprop_xp.data.augmentation import AUGMENTATIONS, augment, get_augmentation

SCALE, COLUMNS = 3, 16


def main() -> None:
    """Read the options, draw the sheet and say where it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", help="the PNG file to write")
    parser.add_argument("--data", default="digits", help="digits, mnist or a folder of IDX files")
    parser.add_argument("--data-dir", help="folder of the MNIST files")
    parser.add_argument("--preset", default="digits", choices=AUGMENTATIONS)
    parser.add_argument("--rows", type=int, default=12, help="how many images to show")
    told = parser.parse_args()
    data = load_dataset(told.data, data_dir=told.data_dir)
    if data.image_shape is None:
        parser.error(f"{told.data} holds no images")
    preset = get_augmentation(told.preset, data.image_shape)
    x = np.asarray(data.train.inputs[: told.rows], dtype=np.float64)
    x /= x.max()
    changed = [
        augment(x, data.image_shape, preset, seed=0, step=step, xp=np)
        for step in range(COLUMNS - 1)
    ]
    images = np.stack([x, *changed], axis=1).reshape(len(x), COLUMNS, *data.image_shape)
    height, width = data.image_shape
    framed = np.ones((len(x), COLUMNS, height + 1, width + 1)) * 0.4  # a thin line between them
    framed[:, :, :height, :width] = images
    sheet = framed.transpose(0, 2, 1, 3).reshape(len(x) * (height + 1), COLUMNS * (width + 1))
    sheet = sheet.repeat(SCALE, axis=0).repeat(SCALE, axis=1)
    imsave(told.out, 1.0 - sheet, cmap="gray", vmin=0.0, vmax=1.0)
    print(f"{told.out}: {len(x)} images of {data.name}, as they are and with '{told.preset}'")


main()
