"""TensorBoard's event files: read without TensorBoard, damaged ones up to the damage."""

import struct
from pathlib import Path

import pytest
import training_logs as logs
from training_logs import slashed

from zephyr_utils.diagnostics import (
    TrainingLogError,
    implied_beta,
    read_training_log,
    traffic_light,
)
from zephyr_utils.diagnostics.event_files import masked_crc

SPECIMENS = Path(__file__).parent / "specimens"


def test_an_event_file_of_torchs_summary_writer_is_read():
    """Written by torch's SummaryWriter under tensorboard 2.21 in this order: a text, four training
    rows and three evaluation rows, a loss of NaN as a tensor (new_style=True), a summary.
    """
    path = SPECIMENS / "events.out.tfevents.specimen"
    log = read_training_log(path)
    assert log.training["step"].tolist() == [1, 10, 20, 30, 40]
    assert log.training["loss"][:4] == pytest.approx([0.6931, 0.6731, 0.6531, 0.6331], abs=1e-6)
    assert log.evaluation["rewards/chosen"] == pytest.approx([-0.1, -0.2, -0.3])
    assert log.not_finite == ("step 40: training loss is nan",)


def event_record(step, scalars):
    """A record with simple values, by the TFRecord format and the encoding of protobuf."""

    def field(number, content):
        return bytes([number << 3 | 2, len(content)]) + content

    summary = b""
    for tag, value in scalars.items():
        summary += field(1, field(1, tag.encode()) + bytes([2 << 3 | 5]) + struct.pack("<f", value))
    number = b""
    while step > 127:
        number, step = number + bytes([step & 127 | 128]), step >> 7
    body = bytes([2 << 3]) + number + bytes([step])
    size = len(summary)
    length = bytes([size & 127 | 128, size >> 7]) if size > 127 else bytes([size])
    body += bytes([5 << 3 | 2]) + length + summary
    head = struct.pack("<Q", len(body))
    return head + struct.pack("<I", masked_crc(head)) + body + struct.pack("<I", masked_crc(body))


def test_the_checksum_is_that_of_the_standard():
    # CRC-32C of "123456789" is e3069283 (RFC 3720, B.4 has the polynomial); masked as by TFRecord.
    crc = 0xE3069283
    assert masked_crc(b"123456789") == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def test_a_run_in_an_event_file_has_the_verdict_of_its_history(tmp_path):
    path = tmp_path / "events.out.tfevents.1764000000.host.1.0"
    data = b""
    for row in slashed(logs.dpo(beta=0.1)):
        step = row.pop("train/global_step")
        for tag, value in row.items():
            data += event_record(step, {tag: value})
    path.write_bytes(data)
    log = read_training_log(path)
    assert log.training["step"].tolist() == [1, *range(10, 101, 10)]
    assert log.evaluation["step"].tolist() == [0, *range(10, 101, 10)]
    assert implied_beta(log).beta == pytest.approx(0.1, abs=1e-4)
    assert traffic_light(log, beta=0.1).colour == "green", str(traffic_light(log))


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda data: data[:-7], "it breaks off in the record"),
        (lambda data: data[:-30] + b"\xff" + data[-29:], "of the record at byte"),
        (lambda data: data[:-60] + b"\xff" * 60, "wrong"),
        (lambda data: data + b"\x00" * 5, "it breaks off in the record"),
    ],
)
def test_an_event_file_that_is_damaged_is_read_up_to_there_and_never_green(tmp_path, damage, text):
    path = tmp_path / "events.out.tfevents.1"
    data = b""
    for row in slashed(logs.dpo()[:-1]):
        step = row.pop("train/global_step")
        data += b"".join(event_record(step, {tag: value}) for tag, value in row.items())
    path.write_bytes(damage(data))
    log = read_training_log(path)
    assert log.n_unreadable == 1 and text in log.warnings[0]
    assert log.training["step"].size == 11 and traffic_light(log).colour != "green"


def test_what_is_not_an_event_file_is_refused(tmp_path):
    path = tmp_path / "events.out.tfevents.2"
    for data in (b"not an event file at all, but text", b"\xff" * 200, bytes(range(256))):
        path.write_bytes(data)
        with pytest.raises(TrainingLogError, match="rows cannot be read"):
            read_training_log(path)
    path.write_bytes(b"")
    with pytest.raises(TrainingLogError, match="holds no rows"):
        read_training_log(path)
