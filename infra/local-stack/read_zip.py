"""Reads a ZIP with Python's own zipfile, which shares no code with the writer.

    read_zip.py ARCHIVE DIRECTORY

Writes the content of entry n to DIRECTORY/n, checking its CRC, and prints a JSON list of the
entries in the order of the archive.
"""

import json
import pathlib
import shutil
import sys
import zipfile

archive, directory = sys.argv[1], pathlib.Path(sys.argv[2])
entries = []
with zipfile.ZipFile(archive) as opened:
    for number, entry in enumerate(opened.infolist()):
        with opened.open(entry) as source, open(directory / str(number), "wb") as target:
            shutil.copyfileobj(source, target)
        entries.append(
            {
                "name": entry.filename,
                "size": entry.file_size,
                "packed": entry.compress_size,
                "method": zipfile.compressor_names.get(entry.compress_type, "unknown"),
            }
        )
print(json.dumps(entries))
