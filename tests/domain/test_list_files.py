"""Lists of sources as people write them: every line is taken or reported with its number, and no line costs another."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaters_dagster.domain.errors import BadRequestError
from heaters_dagster.domain.list_files import MOST_LINES, ListedSource, parsed
from heaters_dagster.domain.source_facts import SourceFacts


def listed(text: str | bytes, name: str = "videos.txt") -> list[tuple[int, str, str | None]]:
    found = parsed(text if isinstance(text, bytes) else text.encode(), name=name)
    assert found.problems == ()
    return [(one.number, one.source, one.title) for one in found.sources]


def test_one_address_a_line_with_comments_and_empty_lines() -> None:
    assert listed("# my list\nhttps://example.org/a#part\r\n\n  /films/b c.mp4  \n") == [
        (2, "https://example.org/a#part", None),
        (4, "/films/b c.mp4", None),
    ]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_with_all_columns(separator: str) -> None:
    head = separator.join(["Title", "URL", "license", "Tags", "ID", "rights"])
    row = separator.join(['"Harbour, at night; late"', "https://example.org/a", "CC BY 4.0", '"sea, night"', "A-17", "training"])
    found = parsed(f"\ufeff{head}\n{row}\n".encode(), name="videos.csv")
    facts = SourceFacts(tags=("sea", "night"), licence="CC BY 4.0", external_id="A-17", rights="training")
    assert found.sources == (ListedSource(2, "https://example.org/a", "Harbour, at night; late", facts),)
    assert (found.problems, found.notes) == ((), ())


def test_json_lines_with_names_that_are_not_known() -> None:
    rows = [{"address": "https://example.org/a", "id": 17, "tags": ["sea", "sea"], "views": 3}, {"address": "/b.mp4", "title": None}]
    found = parsed("\n".join(map(json.dumps, rows)).encode(), name="videos.jsonl")
    assert [(one.number, one.facts.external_id, one.facts.tags) for one in found.sources] == [(1, "17", ("sea",)), (2, None, ())]
    (note,) = found.notes
    assert note.startswith("videos.jsonl: names that are not known were left aside: views. Known: address, title,")


def test_columns_that_are_not_known_are_told() -> None:
    found = parsed(b"address,camera,,title\na.mp4,Sony,x,A\n", name="videos.csv")
    assert [(one.source, one.title) for one in found.sources] == [("a.mp4", "A")]
    assert found.notes[0].startswith("videos.csv: columns that are not known were left aside: camera, (no name). Known:")


def test_what_excel_writes_as_unicode_text() -> None:
    assert listed("address\ttitle\r\na.mp4\tÜber\r\n".encode("utf-16")) == [(2, "a.mp4", "Über")]


def test_a_bad_line_is_told_with_its_number_and_the_others_are_taken() -> None:
    lines = [
        b"address,title,tags",
        b"a.mp4,A,",
        b",without address,",
        b'b.mp4,"never closed,',
        b"c.mp4,C,too,many",
        b"d.mp4,caf\xe9,",
        b"e.mp4," + b"x" * 1001 + b",",
        b'f.mp4,"two\nlines",sea',
        b"# g.mp4,a comment,",
        b"h.mp4",
        b"i.mp4,\x00,",
    ]
    found = parsed(b"\n".join(lines), name="videos.csv")
    assert [(one.number, one.source, one.title) for one in found.sources] == [
        (2, "a.mp4", "A"),
        (8, "f.mp4", "two lines"),
        (11, "h.mp4", None),
    ]
    assert [problem.removeprefix("videos.csv, ") for problem in found.problems] == [
        "line 3: it names no address",
        "line 4: a quote is not closed, or not written twice within quotes",
        "line 5: it has 4 columns, but the first line names 3; put a value that holds ',' in quotes",
        "line 6: the title is not UTF-8",
        "line 7: the title has 1,001 characters; at most 1,000 are kept",
        "line 12: the title contains a NUL character",
    ]


def test_bad_json_lines() -> None:
    found = parsed(b'{"address": "a.mp4"}\n{"address": 1,\n[1]\n{"title": "A"}\n{"address": "b", "tags": 3}\n', name="v.jsonl")
    assert [one.source for one in found.sources] == ["a.mp4"]
    assert [problem.split(": ")[0] for problem in found.problems] == [f"v.jsonl, line {number}" for number in (2, 3, 4, 5)]
    for number in ("1e999", "-1e999", "1.10", "1e5", "NaN"):
        found = parsed(b'{"address": "a.mp4", "id": %s}\n{"address": "b.mp4", "id": 9007199254740993}' % number.encode(), name="v.jsonl")
        assert found.problems == ("v.jsonl, line 1: the id is a number that is not whole or too large: put it in quotes",)
        assert [one.facts.external_id for one in found.sources] == ["9007199254740993"]


@pytest.mark.parametrize(
    ("data", "name", "words"),
    [
        (b"name,camera\nA,B\n", "v.csv", "its first line must name the columns, one of them address"),
        (b"address,url\na,b\n", "v.csv", "two of its columns are the address"),
        (b"\x00\x00\x00\x18ftypmp42", "v.txt", "it does not hold text"),
        (b"a\n" * (MOST_LINES + 2), "v.txt", "a list has at most 100,000"),
    ],
)
def test_what_is_no_list_is_refused_in_words(data: bytes, name: str, words: str) -> None:
    with pytest.raises(BadRequestError, match=words):
        parsed(data, name=name)


def test_a_first_line_of_any_length_is_read_or_told() -> None:
    long = b"a" * 200_000
    assert parsed(long, name="v.txt").problems == ("v.txt, line 1: the address has 200,000 characters; at most 1,000 are kept",)
    with pytest.raises(BadRequestError, match="its first line must name the columns"):
        parsed(long + b",address\n", name="v.csv")


@given(st.lists(st.binary(max_size=40), max_size=8), st.sampled_from([b"", b"address,title\n", b'{"address": "a"}\n']))
def test_no_bytes_are_too_strange(lines: list[bytes], head: bytes) -> None:
    try:
        found = parsed(head + b"\n".join(lines), name="list")
    except BadRequestError:
        return
    assert all(one.source and "\x00" not in one.source and "\n" not in one.source for one in found.sources)
