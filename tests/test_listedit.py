"""Edits of lists: what was wanted is there, and not another byte has changed."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoa.exceptions import ListError, PolicyError
from spoa.listedit import Addition, add_entries, finish_rotation, new_list, remove_entries, start_rotation
from spoa.listindex import NEVER, Kind
from spoa.listtext import Key, ListText, key_of_serial, read_key

A, B, C, D = (read_key(digits * 32) for digits in ("aa", "bb", "cc", "dd"))
END = 1830211200

RICH = f"""\
# whose list this is
apiVersion: authz/v1
kind: list
entries:
    # the docks
    - owner: warehouse-ops   # ring 12
      sha256: "{"aa" * 32}"
      expires: 2027-12-31T00:00:00Z

    # the yard
    - {{sha256: '{"bb" * 32}', expires: 2027-12-31T00:00:00Z}}  # leased
    # behind
# the end
"""
PLAIN = f"# head\n{'aa' * 32}  # one\n\n# two\n{'bb' * 32}"


def said(text: bytes, file: str = "x.yaml") -> list[str]:
    return [entry.key.text[:9] for entry in ListText(text, file).entries]


digests = st.binary(min_size=32, max_size=32)
keys = st.one_of(
    digests.map(lambda digest: Key(Kind.SHA256, digest)),
    digests.map(lambda digest: Key(Kind.SPKI_SHA256, digest)),
    st.builds(key_of_serial, st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.integers(-(2**70), 2**170)),
)
notes = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Cf", "Cn")), max_size=20)
additions = st.lists(
    st.builds(Addition, keys, notes, notes, notes, st.integers(0, 2**32), st.just(b"") | digests),
    min_size=1,
    max_size=4,
    unique_by=lambda one: one.key,
)
comments = st.lists(st.text(string.ascii_letters + " #-:", max_size=9).map(lambda text: f"  # {text}\n"), max_size=3)


class TestAnyList:
    @given(additions, st.booleans())
    def test_what_is_added_is_there_and_what_is_removed_is_gone(self, wanted: list[Addition], once: bool) -> None:
        text = new_list("x.yaml")
        for some in [wanted] if once else [[one] for one in wanted]:
            text = add_entries(text, "x.yaml", some)
        assert [entry.says for entry in ListText(text, "x.yaml").entries] == [one.says for one in wanted]
        for number, one in enumerate(wanted, start=1):
            text, removed = remove_entries(text, "x.yaml", [one.key])
            assert one.key in [entry.key for entry in removed]
            assert [entry.key for entry in ListText(text, "x.yaml").entries] == [left.key for left in wanted[number:]]

    @given(additions, comments, st.data())
    def test_every_line_that_is_no_part_of_an_edit_survives_it(
        self, wanted: list[Addition], remarks: list[str], data: st.DataObject
    ) -> None:
        lines = add_entries(new_list("x.yaml"), "x.yaml", wanted).decode().splitlines(keepends=True)
        for remark in remarks:
            lines.insert(data.draw(st.integers(3, len(lines))), remark)
        text = "".join(lines).encode()
        before = ListText(text, "x.yaml")
        victim = data.draw(st.sampled_from(before.entries))
        after, removed = remove_entries(text, "x.yaml", [victim.key])
        taken = {n for entry in removed if entry.key == victim.key for n in range(entry.first, entry.last + 1)}
        kept = [line for number, line in enumerate(before.lines) if number not in taken]
        touched = ["entries: []\n" if line == "entries:\n" and len(wanted) == 1 else line for line in kept]
        assert [line for line in touched if "next:" not in line] == [
            line for line in after.decode().splitlines(keepends=True) if "next:" not in line
        ]
        again = add_entries(after, "x.yaml", [Addition(victim.key, expires=END)])
        assert set(after.decode().splitlines()) - {"entries: []"} <= set(again.decode().splitlines())


class TestAdding:
    def test_an_entry_follows_the_last_one_in_its_layout(self) -> None:
        text = add_entries(RICH.encode(), "x.yaml", [Addition(C, "me", 'a "b"', "T-1", END, D.digest)]).decode()
        assert text == RICH.replace(
            "    # behind\n",
            f'    - sha256: "{"cc" * 32}"\n      owner: "me"\n      comment: "a \\"b\\""\n      ticket: "T-1"\n'
            f'      expires: 2027-12-31T00:00:00Z\n      next: "{"dd" * 32}"\n    # behind\n',
        )

    def test_block_entries_lend_their_indents(self) -> None:
        text = f"apiVersion: authz/v1\nkind: list\npermanent: true\nentries:\n-   sha256: {'aa' * 32}".encode()
        assert add_entries(text, "x.yaml", [Addition(B, "me")]).decode().splitlines()[-2:] == [
            f'-   sha256: "{"bb" * 32}"',
            '    owner: "me"',
        ]

    def test_line_ends_are_kept(self) -> None:
        crlf = RICH.replace("\n", "\r\n").encode()
        text = add_entries(crlf, "x.yaml", [Addition(C, expires=END)])
        assert text.count(b"\n") == text.count(b"\r\n") == crlf.count(b"\n") + 2

    def test_a_plain_list_takes_a_line(self) -> None:
        text = add_entries(PLAIN.encode(), "x.txt", [Addition(C, "ops", "new\x07", "T-1"), Addition(D)])
        assert text.decode() == f"{PLAIN}\n{'cc' * 32}  # new\\u0007, ops, T-1\n{'dd' * 32}\n"
        assert add_entries(b"", "x.txt", [Addition(C)]) == b"cc" * 32 + b"\n"

    def test_nothing_to_add_changes_nothing(self) -> None:
        assert add_entries(RICH.encode(), "x.yaml", []) == RICH.encode()

    @pytest.mark.parametrize(
        ("file", "addition", "message"),
        [
            ("x.yaml", Addition(C), "needs an end"),
            ("x.yaml", Addition(read_key("12" * 20), expires=END), "SHA-1"),
            ("x.txt", Addition(C, expires=END), "knows no expiry"),
            ("x.txt", Addition(read_key("corp/1f")), "fingerprints alone"),
        ],
    )
    def test_what_a_list_can_t_hold_is_refused(self, file: str, addition: Addition, message: str) -> None:
        with pytest.raises(ListError, match=message):
            add_entries((RICH if file == "x.yaml" else PLAIN).encode(), file, [addition])

    def test_a_broken_list_is_left_alone(self) -> None:
        with pytest.raises(PolicyError):
            add_entries(b"entries: 7", "x.yaml", [Addition(A)])

    def test_a_permanent_list_takes_entries_without_an_end(self) -> None:
        text = new_list("x.yaml") + b"permanent: true\n"
        added = add_entries(text, "x.yaml", [Addition(A)])
        assert added.endswith(f'entries:\n  - sha256: "{"aa" * 32}"\npermanent: true\n'.encode())
        assert [entry.expires for entry in ListText(added, "x.yaml").entries] == [NEVER]

    def test_an_empty_list_in_a_layout_of_its_own_is_refused(self) -> None:
        text = b"apiVersion: authz/v1\nkind: list\nentries:\n  [\n  ]\n"
        with pytest.raises(ListError, match=r"x\.yaml:3: its entries are written"):
            add_entries(text, "x.yaml", [Addition(A, expires=END)])


class TestRemoving:
    def test_an_entry_goes_with_its_lines_alone(self) -> None:
        text, (entry,) = remove_entries(RICH.encode(), "x.yaml", [A])
        lines = RICH.splitlines(keepends=True)
        assert text.decode() == "".join(lines[:5] + lines[8:])
        assert entry.key == A

    def test_the_last_one_leaves_an_empty_list(self) -> None:
        text, removed = remove_entries(RICH.encode(), "x.yaml", [A, B])
        assert (said(text), len(removed)) == ([], 2)
        assert b"entries: []\n    # the docks\n" in text
        assert said(add_entries(text, "x.yaml", [Addition(C, expires=END)])) == ["sha256:cc"]

    def test_a_plain_list_loses_the_line(self) -> None:
        text, removed = remove_entries(PLAIN.encode(), "x.txt", [A, C])
        assert (text.decode(), len(removed)) == (f"# head\n\n# two\n{'bb' * 32}", 1)

    def test_a_successor_is_taken_off_its_entry(self) -> None:
        for key in (A, B):
            turning = start_rotation(RICH.encode(), "x.yaml", key, C.digest)
            text, (entry,) = remove_entries(turning, "x.yaml", [C])
            assert (text.decode(), entry.key) == (RICH, key)

    def test_what_is_not_there_changes_nothing(self) -> None:
        assert remove_entries(RICH.encode(), "x.yaml", [C]) == (RICH.encode(), ())

    def test_an_anchor_that_others_need_keeps_its_entry(self) -> None:
        text = RICH.replace("owner: warehouse-ops", "owner: &ops warehouse-ops").replace("'bb", "&b 'bb")
        text = text.replace(", expires", ", owner: *ops, expires")
        with pytest.raises(ListError, match="edit it by hand"):
            remove_entries(text.encode(), "x.yaml", [A])


class TestRotating:
    @pytest.mark.parametrize("key", [A, B])
    def test_a_rotation_begins_with_the_successor_beside_and_ends_in_its_place(self, key: Key) -> None:
        turning = start_rotation(RICH.encode(), "x.yaml", key, C.digest)
        assert start_rotation(turning, "x.yaml", key, C.digest) == turning
        (entry,) = ListText(turning, "x.yaml").named(key)
        assert entry.next == C.digest
        assert finish_rotation(turning, "x.yaml", key).decode().replace('"', "'") == RICH.replace(
            key.digest.hex(), C.digest.hex()
        ).replace('"', "'")
        other = start_rotation(turning, "x.yaml", key, D.digest)
        assert ListText(other, "x.yaml").named(key)[0].next == D.digest

    def test_the_end_is_the_new_certificate_s(self) -> None:
        turning = start_rotation(RICH.encode(), "x.yaml", A, C.digest)
        (entry,) = ListText(finish_rotation(turning, "x.yaml", A, END + 1), "x.yaml").named(C)
        assert (entry.expires, entry.owner, entry.next) == (END + 1, "warehouse-ops", b"")

    def test_an_entry_without_an_end_may_get_one(self) -> None:
        text = f"apiVersion: authz/v1\nkind: list\npermanent: true\nentries:\n- sha256: {'aa' * 32}".encode()
        turned = finish_rotation(start_rotation(text, "x.yaml", A, C.digest), "x.yaml", A, END)
        assert ListText(turned, "x.yaml").named(C)[0].expires == END

    def test_in_a_plain_list_the_successor_s_line_follows(self) -> None:
        text = start_rotation(PLAIN.encode(), "x.txt", B, C.digest)
        assert text.decode() == f"{PLAIN}\n{'cc' * 32}  # successor of {B.text}\n"
        with pytest.raises(ListError, match="`list remove` the old line"):
            finish_rotation(text, "x.txt", B)

    @pytest.mark.parametrize(
        ("text", "key", "message"),
        [
            (RICH, C, "nothing names sha256:cc"),
            (RICH.replace("bb" * 32, "aa" * 32), A, "2 entries name"),
            (RICH, A, "begin one with `list rotate"),
            (RICH.replace("sha256: '", "spki_sha256: '"), read_key("spki:" + "bb" * 32), "only an entry by sha256"),
        ],
    )
    def test_what_can_t_be_finished_is_refused(self, text: str, key: Key, message: str) -> None:
        content = text.encode()
        if "only" in message:
            content = start_rotation(content, "x.yaml", key, C.digest)
        with pytest.raises(ListError, match=message):
            finish_rotation(content, "x.yaml", key)

    @pytest.mark.parametrize(
        ("written", "message"),
        [
            (f'next: "{"cc" * 32}"\n      sha256:\n        "{"aa" * 32}"\n', "value of sha256 isn't on its line"),
            (f'sha256: "{"aa" * 32}"\n      next:\n        "{"cc" * 32}"\n', "next shares its line"),
        ],
    )
    def test_values_on_lines_of_their_own_are_left_to_people(self, written: str, message: str) -> None:
        text = RICH.replace(f'sha256: "{"aa" * 32}"\n', written).encode()
        with pytest.raises(ListError, match=message):
            finish_rotation(text, "x.yaml", A)


def test_a_comment_in_another_encoding_stays_as_it_is() -> None:
    before = b"# caf\xe9\n" + b"aa" * 32 + b"  # Zo\xeb\n"
    assert ListText(before, "x.txt").entries[0].comment == "Zo\ufffd"
    after = add_entries(before, "x.txt", [Addition(B)])
    assert after.startswith(before)
    assert remove_entries(after, "x.txt", [B])[0] == before
