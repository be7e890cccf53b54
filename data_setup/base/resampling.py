"""Pictures moved as whole numbers from 0 to 255, one after the other, by OpenCV: what augmentation does on a CPU.

(A GPU moves all pictures of a batch at once, in floats: `helpers.data.augment`, which draws for both.)
"""

import numpy as np


def move(squares: np.ndarray, places: np.ndarray, taps: np.ndarray, levels: np.ndarray, size: int) -> np.ndarray:
    """Blur, sample once, light: uint8 (N, C, P, P) in, (N, C, size, size) of the type of `levels` out; edges mirrored.

    places: (N, 3, 3), from pixel numbers in the result to pixel numbers in the square; taps: (N, 3), the blur's weights
    along each side; levels: float (N, 256), what each of the 256 values becomes.
    """
    import cv2  # takes a while

    images = np.empty((*squares.shape[:2], size, size), levels.dtype)  # of another type OpenCV would write elsewhere
    for square, place, weights, level, image in zip(squares, places, taps, levels, images, strict=True):
        for plane, seen in zip(square, image, strict=True):
            if weights[0] > 0:
                plane = cv2.sepFilter2D(plane, -1, weights, weights, borderType=cv2.BORDER_REPLICATE)
            how = {"flags": cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, "borderMode": cv2.BORDER_REFLECT}
            cv2.LUT(cv2.warpPerspective(plane, place, (size, size), **how), level, seen)
    return images


def pixel_numbers(px: int) -> np.ndarray:
    """The matrix from -1..1, edge to edge, to the numbers of `px` pixels: the middle of the first is 0."""
    half = px / 2
    return np.array([[half, 0, half - 0.5], [0, half, half - 0.5], [0, 0, 1]])
