"""Zip files: what they say of their members is compared with their size before it is unpacked."""

from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipInfo

from fastjvae.data.prepare import legible

# A byte of deflate's output takes 1/1032 of a byte at least: 258 bytes for two bits.
DEFLATE_RATIO = 1032


def check_member(info: ZipInfo, archive_size: int) -> None:
    """Compare the sizes of a member with one another and with the size of its archive, bytes.

    Raises:
        ValueError: the member cannot hold as many bytes as it announces.
    """
    most = {ZIP_STORED: 1, ZIP_DEFLATED: DEFLATE_RATIO}.get(info.compress_type)
    packed = info.compress_size
    if packed > archive_size or (most is not None and info.file_size > most * packed):
        raise ValueError(
            f"its member {legible(info.filename)} announces {info.file_size:,} bytes in {packed:,}"
            f" of {archive_size:,}"
        )
