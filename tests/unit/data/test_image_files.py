"""Image files as cameras, phones, scanners and programs write them: read right, or said."""

import io
import struct
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from p2pqg.base.errors import DataError
from p2pqg.data import load
from p2pqg.data.feeding.file_feed import decode

COLOR = np.random.default_rng(0).integers(0, 256, size=(6, 5, 3), dtype=np.uint8)
GRAY = COLOR[:, :, 0]


def file_of(image, kind="PNG", **options):
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def png(pixels):
    return file_of(Image.fromarray(pixels))


def png_of_16_bits(pixels):
    """By hand, for Pillow writes no color of 16 bits: [height, width, 3], uint16."""

    def chunk(kind, content):
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    height, width, _ = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.fixture(params=["folders", "parquet"])
def read(request, tmp_path):
    """Arrays of these images, one class each; the test part is the same, or another one."""

    def read(*train, test=None):
        for part, contents in (("train", train), ("test", test or train)):
            if request.param == "parquet":
                images = [{"bytes": content, "path": None} for content in contents]
                table = pa.table({"image": images, "label": list(range(len(images)))})
                pq.write_table(table, tmp_path / f"{part}.parquet")
                continue
            for number, content in enumerate(contents):
                folder = tmp_path / part / f"class{number}"
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "image.png").write_bytes(content)
        return load("images", tmp_path)

    return read


def as_color(gray):
    return np.stack([gray] * 3)


def test_one_gray_image_first_leaves_the_others_in_color(read):
    arrays = read(png(GRAY), png(COLOR))
    np.testing.assert_array_equal(arrays.train_x[0], as_color(GRAY))
    np.testing.assert_array_equal(arrays.train_x[1], COLOR.transpose(2, 0, 1))
    assert arrays.mean == (0.5,) * 3
    assert arrays.notes == ()


@pytest.mark.parametrize("train_is_gray", [True, False])
def test_color_in_one_part_is_color_in_both(read, train_is_gray):
    train, test = (GRAY, COLOR) if train_is_gray else (COLOR, GRAY)
    arrays = read(png(train), png(train), test=[png(test)] * 2)
    gray, color = arrays.train_x[0], arrays.test_x[0]
    gray, color = (gray, color) if train_is_gray else (color, gray)
    np.testing.assert_array_equal(gray, as_color(GRAY))
    np.testing.assert_array_equal(color, COLOR.transpose(2, 0, 1))


def test_gray_of_16_bits_is_scaled_and_not_clipped(read):
    deep = np.linspace(2000, 34_999, GRAY.size).astype(np.uint16).reshape(GRAY.shape)
    arrays = read(file_of(Image.fromarray(deep)), file_of(Image.fromarray(deep[::-1].copy())))
    assert arrays.input_shape == (1, *GRAY.shape)
    np.testing.assert_array_equal(arrays.train_x[0, 0], deep >> 8)
    assert arrays.train_x.min() == 2000 >> 8 == 7
    assert arrays.train_x.max() == 34_999 >> 8 == 136
    assert "2 of 2 images: each has 16 bits per channel: the upper 8 are kept" in arrays.notes[0]


def test_16_bits_of_which_the_lower_ones_are_used_are_told(read):
    twelve = file_of(Image.fromarray(np.full(GRAY.shape, 4095, np.uint16)))
    told = "\n".join(read(twelve, twelve).notes)
    assert "use the lower ones: of 0 .. 255 the upper 8 reach 15; scale them" in told
    eight = file_of(Image.fromarray(np.full(GRAY.shape, 255, np.uint16)))
    with pytest.raises(DataError, match="use the lower ones: of 0 .. 255 the upper 8 reach 0; sc"):
        read(eight, eight)


def test_what_is_really_black_in_16_bits_is_no_mistake(read):
    black, deep = np.zeros(GRAY.shape, np.uint16), np.full(GRAY.shape, 40_000, np.uint16)
    for others in (png(GRAY), file_of(Image.fromarray(deep)), file_of(Image.fromarray(black))):
        arrays = read(file_of(Image.fromarray(black)), others)
        assert not arrays.train_x[0].any()
        assert "lower" not in "\n".join(arrays.notes)
    colors = read(png_of_16_bits(np.zeros(COLOR.shape, np.uint16)), png(COLOR))
    assert not colors.train_x[0].any()


def test_an_image_that_loses_all_it_shows_is_told_among_others(read):
    deep = file_of(Image.fromarray(np.full(GRAY.shape, 40_000, np.uint16)))
    dark = file_of(Image.fromarray(np.full(GRAY.shape, 200, np.uint16)))
    told = "\n".join(read(deep, dark).notes)
    assert "is black in the upper 8 of its 16 bits, and what it shows" in told


def test_color_of_16_bits_is_scaled_too(read):
    deep = np.linspace(0, 65_535, COLOR.size).astype(np.uint16).reshape(COLOR.shape)
    arrays = read(png_of_16_bits(deep), png(COLOR))
    np.testing.assert_array_equal(arrays.train_x[0], (deep >> 8).transpose(2, 0, 1))
    assert "has 16 bits per channel" in arrays.notes[0]


@pytest.mark.parametrize("kind", ["PPM", "TIFF"])
def test_files_of_scanners_and_cameras_are_read_with_8_and_16_bits(read, kind):
    deep = (GRAY.astype(np.uint16) << 8) + 77
    arrays = read(file_of(Image.fromarray(GRAY), kind), file_of(Image.fromarray(deep), kind))
    np.testing.assert_array_equal(arrays.train_x, np.stack([GRAY[None]] * 2))
    assert "has 16 bits per channel: the upper 8 are kept" in arrays.notes[0]


def tiff_of(deep):
    """A TIFF file of 16 bits per channel in color, which Pillow reads and does not write."""
    height, width, _ = deep.shape
    at = 8 + 2 + 12 * 8 + 4  # of what is behind the tags
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, at), (262, 3, 1, 2)]
    tags += [(273, 4, 1, at + 6), (277, 3, 1, 3), (278, 4, 1, height), (279, 4, 1, deep.nbytes)]
    parts = [b"II*\0", struct.pack("<IH", 8, len(tags)), *(struct.pack("<HHII", *t) for t in tags)]
    return b"".join([*parts, struct.pack("<I3H", 0, 16, 16, 16), deep.astype("<u2").tobytes()])


@pytest.mark.parametrize("kind", ["PPM", "TIFF"])
def test_color_of_16_bits_in_files_of_scanners_and_cameras_is_told(read, kind):
    header = b"P6 # a comment, 255\n%d %d\n65535\n" % COLOR.shape[1::-1]
    deep = COLOR.astype(np.uint16) * 257
    content = tiff_of(deep) if kind == "TIFF" else header + deep.astype(">u2").tobytes()
    arrays = read(*[content] * 2)
    np.testing.assert_array_equal(arrays.train_x[0], COLOR.transpose(2, 0, 1))
    assert "has 16 bits per channel" in arrays.notes[0]


@pytest.mark.parametrize(
    ("image", "options", "trouble"),
    [
        (Image.fromarray(GRAY / np.float32(255)), {}, r"holds floats \(Pillow's mode F\)"),
        (Image.fromarray(GRAY.astype(np.int32)), {}, "holds whole numbers"),
        (Image.fromarray(COLOR).convert("LAB"), {}, "holds colors as L"),
        (
            Image.fromarray(GRAY.astype(np.uint16)),
            {"tiffinfo": {262: 0}},
            "holds numbers from white to black",
        ),
    ],
)
def test_numbers_that_no_viewer_shows_are_refused(read, image, options, trouble):
    with pytest.raises(DataError, match=rf"{trouble}.*save it with 8 bits per channel"):
        read(file_of(image, "TIFF", **options))


def test_of_pages_in_one_file_the_first_is_taken(read):
    pages = [Image.fromarray(GRAY), Image.fromarray(GRAY // 2)]
    arrays = read(*[file_of(pages[0], "TIFF", save_all=True, append_images=pages[1:])] * 2)
    np.testing.assert_array_equal(arrays.train_x[0, 0], GRAY)
    assert "has several frames: the first one is taken" in arrays.notes[0]


def test_palettes_bits_and_opaque_alpha_channels_lose_nothing(read):
    few_colors = np.where(GRAY[:, :, None] > 127, COLOR[0, 0], COLOR[1, 1])
    opaque = np.dstack([COLOR, np.full(GRAY.shape, 255, np.uint8)])
    arrays = read(
        file_of(Image.fromarray(few_colors).quantize(4)),
        file_of(Image.fromarray(GRAY > 127)),
        png(opaque),
    )
    np.testing.assert_array_equal(arrays.train_x[0], few_colors.transpose(2, 0, 1))
    np.testing.assert_array_equal(arrays.train_x[1], as_color(np.where(GRAY > 127, 255, 0)))
    np.testing.assert_array_equal(arrays.train_x[2], COLOR.transpose(2, 0, 1))
    assert arrays.notes == ()


def test_transparency_is_dropped_and_that_is_said(read):
    clear = np.dstack([COLOR, GRAY])
    palette = Image.fromarray(COLOR).quantize(8)
    arrays = read(
        png(clear),
        file_of(Image.merge("LA", [Image.fromarray(GRAY)] * 2)),
        file_of(palette, transparency=0),
    )
    np.testing.assert_array_equal(arrays.train_x[0], COLOR.transpose(2, 0, 1))
    np.testing.assert_array_equal(arrays.train_x[1], as_color(GRAY))
    for note in arrays.notes:
        assert "3 of 3 images: each is partly transparent: its alpha channel is dropped" in note


def test_gray_with_an_alpha_channel_stays_gray(read):
    arrays = read(file_of(Image.merge("LA", [Image.fromarray(GRAY)] * 2)))
    np.testing.assert_array_equal(arrays.train_x[0, 0], GRAY)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_a_photo_is_turned_as_its_camera_was_held(read, kind):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: a viewer turns the image by 90 degrees, clockwise
    options = {"lossless": True} if kind == "WEBP" else {}
    content = file_of(Image.fromarray(COLOR), kind, exif=exif, **options)
    arrays = read(content)
    np.testing.assert_array_equal(arrays.train_x[0], np.rot90(COLOR, -1).transpose(2, 0, 1))
    assert not any("one class" not in note for note in arrays.notes)  # all labels are alike


def test_a_photo_that_stays_on_disk_is_turned_and_scaled_alike(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    ramp = np.tile(np.linspace(2000, 34_999, 64).astype(np.uint16), (64, 1))
    (tmp_path / "a.png").write_bytes(file_of(Image.fromarray(ramp), exif=exif))
    row = decode(str(tmp_path / "a.png").encode(), 16)[0, 8].astype(int)
    assert (np.diff(row) < 0).all()
    assert row.max() < 137


def test_ink_and_films_are_said(read):
    frames = [Image.fromarray(COLOR), Image.fromarray(255 - COLOR)]
    film = file_of(frames[0], save_all=True, append_images=frames[1:])
    ink = file_of(Image.fromarray(COLOR).convert("CMYK"), "JPEG")
    arrays = read(film, ink)
    np.testing.assert_array_equal(arrays.train_x[0], COLOR.transpose(2, 0, 1))
    said = "\n".join(arrays.notes)
    assert "has several frames: the first one is taken" in said
    assert "holds amounts of ink (CMYK)" in said


def test_what_was_said_is_said_again_when_the_images_come_from_the_cache(
    read, tmp_path, monkeypatch
):
    first = read(png(np.dstack([COLOR, GRAY])))
    monkeypatch.setattr("p2pqg.data._pixels.opened", None)
    assert load("images", tmp_path).notes == first.notes != ()


def test_color_for_a_data_set_of_gray_images_is_said(tmp_path):
    images = [{"bytes": png(np.tile(COLOR[:4, :4], (7, 7, 1))), "path": None}] * 3
    for part in ("train", "test"):
        pq.write_table(
            pa.table({"image": images, "label": [0, 1, 2]}), tmp_path / f"{part}.parquet"
        )
    notes = load("mnist", tmp_path).notes
    assert "3 of 3 images: each is in color, and made gray" in notes[0]


def test_all_broken_images_are_counted_and_the_first_is_named(read):
    whole = png(COLOR)
    with pytest.raises(DataError, match="is cut short or broken; fetch it again") as caught:
        read(whole, whole[:80], b"GIF89a", whole)
    assert "(1 more are broken, too)" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cut", [0.5, 0.9])
def test_a_jpeg_that_is_cut_short_is_refused(read, cut):
    whole = file_of(Image.fromarray(np.tile(COLOR, (20, 20, 1))), "JPEG")
    with pytest.raises(DataError, match="is cut short or broken"):
        read(whole[: int(cut * len(whole))])
