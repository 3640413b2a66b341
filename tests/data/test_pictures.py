"""Pictures of every kind that people have, and files that are none."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from quatgrad.data.pictures import read_picture
from quatgrad.errors import DataError

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (6, 8, 3), np.uint8)
GREY = RNG.integers(0, 256, (6, 8), np.uint8)


def saved(tmp_path, image, name="a.png", **options):
    image.save(tmp_path / name, **options)
    return tmp_path / name


def test_colour_and_grey_come_back_bit_for_bit(tmp_path):
    for name in ("a.png", "a.bmp", "a.tiff", "a.ppm"):
        found = read_picture(saved(tmp_path, Image.fromarray(COLOUR), name))
        np.testing.assert_array_equal(found.pixels, COLOUR)
        assert not found.transparent
    found = read_picture(saved(tmp_path, Image.fromarray(GREY), "g.png"))
    np.testing.assert_array_equal(found.pixels, GREY[..., None])


def test_grey_as_colour_and_colour_as_grey(tmp_path):
    path = saved(tmp_path, Image.fromarray(GREY))
    np.testing.assert_array_equal(read_picture(path, 3).pixels, np.repeat(GREY[..., None], 3, 2))
    path = saved(tmp_path, Image.fromarray(COLOUR))
    np.testing.assert_allclose(
        read_picture(path, 1).pixels[..., 0], COLOUR @ [0.299, 0.587, 0.114], atol=1
    )


def test_of_16_bits_the_upper_8_are_kept(tmp_path):
    wide = RNG.integers(0, 65536, (6, 8)).astype(np.uint16)
    found = read_picture(saved(tmp_path, Image.fromarray(wide)))
    np.testing.assert_array_equal(found.pixels[..., 0], wide >> 8)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_of_32_bits_nobody_knows_what_is_white(dtype, tmp_path):
    with pytest.raises(DataError, match=r"a\.tiff has pixels of 32 bits"):
        read_picture(saved(tmp_path, Image.fromarray(GREY.astype(dtype)), "a.tiff"))


def test_grey_with_transparency_is_grey(tmp_path):
    found = read_picture(saved(tmp_path, Image.fromarray(GREY).convert("LA")))
    np.testing.assert_array_equal(found.pixels, GREY[..., None])
    assert not found.transparent


def test_a_palette_is_colour(tmp_path):
    image = Image.fromarray(COLOUR).quantize(256)
    found = read_picture(saved(tmp_path, image))
    np.testing.assert_array_equal(found.pixels, np.asarray(image.convert("RGB")))


def test_cmyk_is_colour(tmp_path):
    image = Image.fromarray(COLOUR).convert("CMYK")
    found = read_picture(saved(tmp_path, image, "a.jpg", quality=95))
    assert found.pixels.shape == (6, 8, 3)


def test_black_and_white_is_grey(tmp_path):
    image = Image.fromarray(GREY).convert("1")
    found = read_picture(saved(tmp_path, image))
    assert set(np.unique(found.pixels)) <= {0, 255}
    assert found.pixels.shape == (6, 8, 1)


def test_what_is_transparent_lies_over_white_and_is_said(tmp_path):
    alpha = np.full((6, 8, 1), 255, np.uint8)
    assert not read_picture(
        saved(tmp_path, Image.fromarray(np.dstack([COLOUR, alpha])))
    ).transparent
    alpha[0, 0] = 0
    found = read_picture(saved(tmp_path, Image.fromarray(np.dstack([COLOUR, alpha]))))
    assert found.transparent
    assert (found.pixels[0, 0] == 255).all()
    np.testing.assert_array_equal(found.pixels[1:], COLOUR[1:])
    palette = Image.fromarray(COLOUR).quantize(8)
    assert read_picture(saved(tmp_path, palette, transparency=0)).transparent


def test_a_camera_held_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to see it
    path = saved(tmp_path, Image.fromarray(COLOUR), exif=exif)
    np.testing.assert_array_equal(read_picture(path).pixels, np.rot90(COLOUR, -1))


def test_it_is_resized(tmp_path):
    path = saved(tmp_path, Image.fromarray(np.full((20, 30, 3), 77, np.uint8)))
    np.testing.assert_array_equal(read_picture(path, size=(4, 5)).pixels, np.full((4, 5, 3), 77))


# --------------------------------------------------------------------------------- bad files


def png_header(width, height):
    """A PNG of that size that ends where its pixels begin."""
    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR" + size) + chunk(b"IDAT" + zlib.compress(b""))


def chunk(content):
    return struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is no picture"),
        (b"Dear Sir or Madam", "is no picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is no picture"),
        (png_header(30_000, 30_000), "at most 50 million pixels are read"),
        (png_header(8_000, 8_000), "a picture of 8,000 x 8,000 pixels; at most 50 million"),
        (png_header(2**31 - 1, 2**31 - 1), "at most 50 million"),
        (png_header(8, 8), "a.png (cannot be read|is damaged)"),
    ],
)
def test_what_is_no_picture(tmp_path, content, said):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=said):
        read_picture(tmp_path / "a.png")


def test_no_file_and_a_folder(tmp_path):
    with pytest.raises(DataError, match=r"cannot be read \(No such file"):
        read_picture(tmp_path / "a.png")
    with pytest.raises(DataError, match="cannot be read"):
        read_picture(tmp_path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_damaged_files_are_one_error_or_a_picture(tmp_path, kind):
    stream = io.BytesIO()
    Image.fromarray(COLOUR).save(stream, kind)
    content, rng = stream.getvalue(), np.random.default_rng(1)
    path, read = tmp_path / "a.png", 0
    for _ in range(150):
        changed = bytearray(content)
        for place in rng.integers(0, len(content), rng.integers(1, 4)):
            changed[place] = rng.integers(256)
        path.write_bytes(changed[: rng.integers(1, len(content) + 1)])
        said = ""
        try:
            found = read_picture(path).pixels
            read += found.dtype == np.uint8 and found.ndim == 3
        except DataError as error:
            said = str(error)
        assert len(said) < 400
    assert read < 150
