"""Create `backprop_xp/data/digits.npz` from scikit-learn's copy of the digits.

Run it as ``python scripts/export_digits.py``; the bytes are the same each time.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np

DESTINATION = Path(__file__).parent.parent / "backprop_xp" / "data" / "digits.npz"


def npz_bytes(**arrays: np.ndarray) -> bytes:
    """Return a compressed .npz file with a fixed date, so that equal arrays give equal bytes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, array, allow_pickle=False)
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            member.create_system = 3  # otherwise the bytes depend on the operating system
            archive.writestr(member, content.getvalue(), zipfile.ZIP_DEFLATED, compresslevel=9)
    return packed.getvalue()


def main() -> None:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    DESTINATION.write_bytes(npz_bytes(x=x.astype(np.uint8), y=y.astype(np.uint8)))
    print(f"wrote {DESTINATION}: {DESTINATION.stat().st_size} bytes")


if __name__ == "__main__":
    main()
