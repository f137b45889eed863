from __future__ import annotations

from spoa.spop.status import Status


def test_the_numbers_are_those_of_the_specification() -> None:
    assert [status.value for status in Status] == [*range(14), 99]


def test_the_text_of_every_status_fits_into_a_disconnect() -> None:
    texts = [status.text for status in Status]

    assert all(text.isascii() and 0 < len(text) <= 255 for text in texts)
    assert len(set(texts)) == len(texts)


def test_a_text_reads_as_words() -> None:
    assert Status.NORMAL.text == "normal"
    assert Status.IO_ERROR.text == "I/O error"
    assert Status.FRAME_TOO_BIG.text == "frame too big"
