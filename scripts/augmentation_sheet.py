"""Draw a sheet of augmented digits: in each row an image and changed copies of it."""

import argparse

import numpy as np
from matplotlib.image import imsave

from backprop_xp import load_dataset
from backprop_xp.data.augmentation import AUGMENTATIONS, augment, get_augmentation

SCALE, COLUMNS = 3, 16


def main() -> None:
    """Read the options and draw the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", help="the PNG file to write")
    parser.add_argument("--data", default="digits", help="digits, mnist or a folder of IDX files")
    parser.add_argument("--data-dir", help="folder of the MNIST files")
    parser.add_argument("--preset", default="digits", choices=AUGMENTATIONS)
    parser.add_argument("--rows", type=int, default=12, help="number of images to show")
    options = parser.parse_args()
    data = load_dataset(options.data, data_dir=options.data_dir)
    if data.image_shape is None:
        parser.error(f"{options.data} holds no images")
    preset = get_augmentation(options.preset, data.image_shape)
    x = np.asarray(data.train.inputs[: options.rows], dtype=np.float64)
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
    imsave(options.out, 1.0 - sheet, cmap="gray", vmin=0.0, vmax=1.0)
    print(f"{options.out}: {len(x)} images of {data.name}, unchanged and with '{options.preset}'")


main()
