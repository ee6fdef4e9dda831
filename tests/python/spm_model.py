"""Changes to SentencePiece models that tests need."""
import os
import shutil

# SentencePiece's types of pieces
NORMAL = 1
CONTROL = 3


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + bytes([value]))


def with_last_pieces(model, names, kind):
    """A SentencePiece model (protobuf: field 1 = piece {1: text, 2: score, 3: type}) with other last pieces, the
    last first."""
    def read_varint(at):
        value = shift = 0
        while True:
            byte = model[at]
            value |= (byte & 127) << shift
            at, shift = at + 1, shift + 7
            if byte < 128:
                return value, at

    fields, at = [], 0
    while at < len(model):
        begin = at
        tag, at = read_varint(at)
        assert tag & 7 == 2, "a SentencePiece model has messages alone at its top"
        length, at = read_varint(at)
        at += length
        fields.append((tag >> 3, model[begin:at]))
    pieces = [i for i, (number, _) in enumerate(fields) if number == 1]
    for place, name in zip(reversed(pieces), names):
        body = b"\x0a" + varint(len(name.encode())) + name.encode() + b"\x15\x00\x00\x00\x00" + b"\x18" + bytes([kind])
        fields[place] = (1, b"\x0a" + varint(len(body)) + body)
    return b"".join(data for _, data in fields)


def copy_with_last_pieces(source, folder, names, kind=CONTROL):
    """A copy of a model's folder, its tokenizer changed by with_last_pieces."""
    shutil.copytree(source, folder)
    path = folder / "tokenizer.model"
    os.chmod(path, 0o644)
    path.write_bytes(with_last_pieces(path.read_bytes(), names, kind))
