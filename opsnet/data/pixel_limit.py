"""The largest image that is decoded; without imports, because scoring plain PNGs needs no Pillow."""

MAX_PIXELS = 2 * 89_478_485
"""Of an image or a map, as in Pillow: decoding takes up to 15 bytes for each, whatever the size of the file."""
TOO_LARGE = (
    f"has more than the {MAX_PIXELS // 10**6} million pixels that are read: make it smaller or cut it into parts"
)
