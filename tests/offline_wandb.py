"""What Weights & Biases has written in its offline mode, read without it."""

import struct


def records(path, kind):
    """Records of a kind that are below a run's directory: the log format of LevelDB, 7 bytes in."""
    from wandb.proto.wandb_internal_pb2 import Record

    (file,) = path.glob("wandb/offline-run-*/*.wandb")
    data, at, whole = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if (left := 32768 - at % 32768) < 7:  # no header begins at the end of a block
            at += left
            continue
        size, part = struct.unpack("<HB", data[at + 4 : at + 7])
        whole += data[at + 7 : at + 7 + size]
        at += 7 + size
        if part in (1, 4):  # whole, or its last part
            record, whole = Record.FromString(whole), b""
            if record.WhichOneof("record_type") == kind:
                yield getattr(record, kind)


def rows(path):
    """What was logged, in order: name -> value as JSON."""
    return [
        {item.key or item.nested_key[0]: item.value_json for item in row.item}
        for row in records(path, "history")
    ]
