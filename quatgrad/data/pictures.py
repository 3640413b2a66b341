"""One picture from a file: PNG, JPEG, ... to bytes (H, W, C)."""

import io
import warnings
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from quatgrad.errors import DataError

#: What is read; other formats of Pillow run programs, or have no pixels.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp")
#: Larger pictures are refused: 50 million pixels are 150 MB.
MOST_PIXELS = 50_000_000


class Picture(NamedTuple):
    """`pixels` uint8 (H, W, C), C = 1 or 3; was anything of it transparent?"""

    pixels: np.ndarray
    transparent: bool


def read_picture(
    path: object,
    channels: int | None = None,
    size: tuple[int, int] | None = None,
    content: bytes | None = None,
) -> Picture:
    """The picture in a file: the way up that its camera says, resized to `size` (H, W) if given.

    channels  1: grey, 0.299 R + 0.587 G + 0.114 B; 3: colour; None: as it is
    content   the bytes of the file, where it lies in another one

    Of 16 bits the upper 8 are kept; palettes and CMYK become RGB; what is transparent is laid
    over white. Raises `DataError` for what is missing, damaged, no picture, too large, or of 32
    or signed 16 bits, which do not say what is white.
    """
    source: Any = path if content is None else io.BytesIO(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of what it reads all the same
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(source, formats=FORMATS) as image:
                _check_size(path, *image.size)
                image.load()
                if image.mode == "F" or (image.mode == "I" and image.format == "TIFF"):
                    raise DataError(
                        f"{path} has pixels of 32 bits, or signed ones, and nothing says what is "
                        "white: scale them to 0 to 255, or give them as an .npz file"
                    )
                return _to_bytes(ImageOps.exif_transpose(image), channels, size)
    except DataError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(path) from error
    except UnidentifiedImageError as error:
        raise DataError(f"{path} is no picture ({', '.join(FORMATS)}): remove it") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error})") from error
    except (ValueError, TypeError, SyntaxError, EOFError, IndexError, KeyError) as error:
        raise DataError(f"{path} is damaged ({str(error)[:100]}): replace or remove it") from error


def _to_bytes(image: Image.Image, channels: int | None, size: tuple[int, int] | None) -> Picture:
    transparent = image.has_transparency_data
    if image.mode in ("I", "I;16", "I;16B", "I;16L"):  # 16 bits
        high = np.clip(np.asarray(image, dtype=np.int64) // 256, 0, 255)
        image = Image.fromarray(high.astype(np.uint8))
    grey = image.mode in ("1", "L", "LA")
    if transparent:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        transparent = image.getchannel("A").getextrema() != (255, 255)
        image = Image.alpha_composite(white, image).convert("RGB")
    mode = {1: "L", 3: "RGB", None: "L" if grey else "RGB"}[channels]
    image = image.convert(mode)
    if size is not None and size != (image.height, image.width):
        image = image.resize(size[::-1], Image.Resampling.BICUBIC)
    pixels = np.asarray(image)
    return Picture(pixels.reshape(*pixels.shape[:2], -1), transparent)


def _check_size(path: object, width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise _too_large(path, f" of {width:,} x {height:,} pixels")


def _too_large(path: object, size: str = "") -> DataError:
    return DataError(
        f"{path} is a picture{size}; at most {MOST_PIXELS // 10**6} million pixels are read: "
        "make it smaller, or remove it"
    )
