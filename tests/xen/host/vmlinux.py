#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Takes the ELF kernel out of a bzImage, once, so that neither Xen nor every guest's start has to.

    vmlinux.py BZIMAGE OUTPUT

The offsets are the boot protocol's (Linux, Documentation/x86/boot.rst: setup_sects, payload_offset,
payload_length). The payload ends in four bytes with its unpacked size.
"""
import gzip
import lzma
import struct
import subprocess
import sys


def unpacked(payload):
    body = payload[:-4]
    if body.startswith(b'\xfd7zXZ\0'):
        return lzma.decompress(body)
    if body.startswith(b'\x1f\x8b'):
        return gzip.decompress(body)
    for magic, tool in ((b'\x28\xb5\x2f\xfd', 'zstd'), (b'\x02\x21\x4c\x18', 'lz4')):
        if body.startswith(magic):
            return subprocess.run([tool, '-dc'], input=body, stdout=subprocess.PIPE, check=True).stdout
    raise ValueError('packed in a way that is not known here')


def main(source, target):
    with open(source, 'rb') as file:
        image = file.read()
    if image[0x202:0x206] != b'HdrS':
        raise ValueError('no bzImage')
    start, length = struct.unpack_from('<II', image, 0x248)
    start += ((image[0x1f1] or 4) + 1) * 512
    kernel = unpacked(image[start:start + length])
    if not kernel.startswith(b'\x7fELF'):
        raise ValueError('what was packed is no ELF file')
    with open(target, 'wb') as file:
        file.write(kernel)


try:
    main(*sys.argv[1:])
except (OSError, TypeError, ValueError, lzma.LZMAError, subprocess.CalledProcessError) as error:
    sys.exit('vmlinux.py: %s' % error)
