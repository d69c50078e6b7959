"""The meaning of p2pd.tracker.registry.Registry, as tests that every implementation passes: searches and lists."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from p2pd.tracker.registry import Registry
from protocol.tracker import By, Gone, Hit, Sort
from tests.fakes.registry_contract import LEASE, Open, announce, device, entry, find, join, names, publish


class FindingContract:
    """Derive, and give the fixture `store` (see registry_contract.py)."""

    @pytest.fixture
    def registry(self, store: Open) -> Iterator[Registry]:
        registry = store()
        registry.resume(0.0, LEASE)
        yield registry
        registry.close()

    @pytest.mark.parametrize(
        "text",
        [
            "holiday",
            "HOLIDAY",
            "olida",
            "video holiday",
            "mp4 vid hol",
            "été",
            "ETE",
            "Été 2023 HOL",
            "2",
            "ho",
            "_v",
            "video 20 4",
            "holiday_video",
            "ﬁle",  # the ligature folds to two letters
            "strasse",
        ],
    )
    def test_words_are_found_anywhere_in_any_order_and_case(self, registry: Registry, text: str) -> None:
        join(registry, 1, entry(1, "Holiday_Video Été 2023 file Straße.MP4"), entry(3, "other.bin"))
        assert len(find(registry, text)) == 1

    @pytest.mark.parametrize("text", ["holidays", "video xx", "xx", "hv", "été 2024", "holiday video other"])
    def test_every_word_must_match(self, registry: Registry, text: str) -> None:
        join(registry, 1, entry(1, "Holiday_Video Été 2023.MP4"), entry(3, "other.bin"))
        assert find(registry, text) == []

    def test_letters_of_other_scripts_are_found(self, registry: Registry) -> None:
        join(registry, 1, entry(1, "日本語 文書.pdf"), entry(2, "Отчёт за год.doc"), entry(3, "🎵 music.ogg"))
        assert [names(registry, text) for text in ("本語", "日本語", "ОТЧЕТ", "🎵")] == [
            ["日本語 文書.pdf"],
            ["日本語 文書.pdf"],
            ["Отчёт за год.doc"],
            ["🎵 music.ogg"],
        ]

    @pytest.mark.parametrize(
        "text",
        [
            '"',
            '""',
            '"""',
            "*",
            "hol*",
            "%",
            "_",
            "hol%day",
            "h_liday",
            "'",
            "'; DROP TABLE entry; --",
            "NEAR",
            "NEAR(holiday video)",
            "holiday OR video",
            "holiday AND other",
            "NOT holiday",
            "folded:holiday",
            "name_trigram:holiday",
            "^holiday",
            "holiday + video",
            "(holiday",
            "{folded}: holiday",
            "-holiday",
            "holiday\\",
            ":match",
            "?1",
        ],
    )
    def test_the_text_is_only_text(self, registry: Registry, text: str) -> None:
        join(registry, 1, entry(1, "holiday video.mp4"), entry(2, "100% 'real' \"quote\" a_b *.txt"))
        found = {hit.names[0] for hit in find(registry, text)}
        expected = {
            name
            for name in ("holiday video.mp4", "100% 'real' \"quote\" a_b *.txt")
            if all(word in name for word in text.lower().split())
        }
        assert found == expected
        assert len(find(registry, by=By.ALL)) == 2

    def test_better_matches_come_first(self, registry: Registry) -> None:
        join(
            registry,
            1,
            entry(1, "notepadded.txt"),
            entry(2, "padding.txt"),
            entry(3, "my pad.txt"),
            entry(4, "another pad.txt", added_at=9),
            entry(5, "pad popular.txt"),
        )
        join(registry, 2, entry(5, "pad popular.txt"))
        assert names(registry, "pad") == [
            "pad popular.txt",
            "another pad.txt",
            "my pad.txt",
            "padding.txt",
            "notepadded.txt",
        ]

    def test_sorting(self, registry: Registry) -> None:
        join(
            registry,
            1,
            entry(1, "x Beta", added_at=5, size=10),
            entry(2, "x alpha", added_at=7, size=30),
            entry(3, "x Gamma", added_at=6, size=20),
        )
        join(registry, 2, entry(3, "x Gamma", added_at=6, size=20))
        order = {sort: [hit.content_id[0] for hit in find(registry, "x", sort=sort)] for sort in Sort}
        assert order == {
            Sort.RELEVANCE: [3, 2, 1],
            Sort.SOURCES: [3, 2, 1],
            Sort.SIZE: [2, 3, 1],
            Sort.NAME: [2, 1, 3],
            Sort.AGE: [2, 3, 1],
        }

    def test_one_content_is_one_hit_with_all_its_names(self, registry: Registry) -> None:
        join(registry, 1, entry(1, "alpha.txt", added_at=4), entry(1, "beta.txt", added_at=5))
        join(registry, 2, entry(1, "zeta alpha.txt", added_at=3))
        [hit] = find(registry, "alpha")
        assert hit == Hit(
            b"\x01" * 32, b"\xfe" * 32, 1, ["alpha.txt", "zeta alpha.txt", "beta.txt"], sources=2, added_at=5
        )
        assert find(registry, by=By.ALL)[0].sources == 2
        assert len(find(registry, by=By.ALL)) == 1

    def test_a_hit_has_a_bounded_number_of_names(self, registry: Registry) -> None:
        for who in (1, 2):
            join(registry, who, *(entry(1, f"alpha {who} {number}") for number in range(10)))
        [hit] = find(registry, "alpha 2")
        assert len(hit.names) == 16
        assert all("2" in name for name in hit.names[:10])

    def test_a_lie_about_size_masks_nothing(self, registry: Registry) -> None:
        join(registry, 1, entry(1, "alpha", size=999))
        join(registry, 2, entry(1, "alpha"))
        assert {(hit.size, hit.sources) for hit in find(registry, "01" * 32, By.ID)} == {(999, 1), (1, 1)}
        assert len(registry.holders(b"\x01" * 32, b"", 9, 0.0)) == 2
        publish(registry, 1, 1, 2, [], [Gone(b"\x01" * 32, "alpha")])
        assert [hit.size for hit in find(registry, "alpha")] == [1]

    def test_of_a_device_only_some_claims_about_a_content_are_kept(self, registry: Registry) -> None:
        """Whoever looks it up would read them all."""
        claims = [entry(1, f"alpha {size}", size=size) for size in range(8)]
        join(registry, 1, claims[0], *claims[2:8], entry(2, "beta"))
        assert sizes(registry) == [0, 2, 3, 4]
        assert names(registry, "alpha 5") == names(registry, "alpha 5", By.NAME) == []
        assert names(registry, "beta") == ["beta"]
        assert registry.totals(0.0).files == 5
        publish(registry, 1, 8, 9, [claims[1], entry(1, "alpha 2 again", size=2)])
        assert sizes(registry) == [0, 2, 3, 4]
        assert names(registry, "again") == ["alpha 2 again"]
        publish(registry, 1, 9, 10, claims[5:7], [Gone(b"\x02" * 32, "beta")])
        assert registry.totals(0.0).files == 5
        publish(registry, 1, 10, 11, [claims[7]], [Gone(b"\x01" * 32, "alpha 3")])
        assert sizes(registry) == [0, 2, 4, 7]

    def test_claims_of_others_do_not_count(self, registry: Registry) -> None:
        claims = [entry(1, f"alpha {size}", size=size) for size in range(10)]
        join(registry, 1, *claims[:5])
        join(registry, 2, *claims[4:9])
        join(registry, 3, claims[9])
        assert sizes(registry) == [*range(8), 9]
        assert len(registry.holders(b"\x01" * 32, b"", 9, 0.0)) == 3
        # nor may one adopt more of them than it may make
        join(registry, 4, *claims[:3], claims[6], claims[9], entry(1, "another", size=77))
        assert [hit.size for hit in find(registry, "01" * 32, By.ID) if hit.sources == 2] == [0, 1, 2, 6]
        assert names(registry, "another") == []

    def test_claims_that_are_kept_are_kept_when_all_is_listed_anew(self, registry: Registry) -> None:
        claims = [entry(1, f"alpha {size}", size=size) for size in range(6)]
        join(registry, 1, *claims)
        publish(registry, 1, 0, 12, list(reversed(claims)), reset=True)
        assert sizes(registry) == [0, 1, 2, 3]
        assert registry.totals(0.0).files == 4
        publish(registry, 1, 0, 13, claims[1:2], reset=True)
        assert sizes(registry) == [1]
        while registry.sweep(0.0, -LEASE, 100):
            pass
        publish(registry, 1, 13, 14, claims)
        assert sizes(registry) == [0, 1, 2, 3]

    def test_a_device_that_lists_a_content_under_many_names_hides_nobody(self, registry: Registry) -> None:
        join(registry, 1, *(entry(1, f"alpha {number}") for number in range(10)))
        join(registry, 2, entry(1, "beta"))
        join(registry, 3, entry(1, "beta", size=5), entry(2, "gamma"))
        join(registry, 4, entry(2, "gamma"))
        assert {card.device_id[0] for card in registry.holders(b"\x01" * 32, device(1), 9, 0.0)} == {2, 3}
        assert len(registry.holders(b"\x01" * 32, b"", 2, 0.0)) == 2
        assert [item.card.device_id[0] for item in registry.members(b"\x01" * 32, b"", 9, 0.0)] == [1, 2, 3]
        registry.depart(device(1), 0.0)
        publish(registry, 2, 0, 2, [], reset=True)
        assert [card.device_id[0] for card in registry.holders(b"\x01" * 32, b"", 9, 0.0)] == [3]
        assert [item.card.device_id[0] for item in registry.members(b"\x01" * 32, b"", 9, 0.0)] == [3]

    def test_a_folder_says_how_many_files_it_has_and_a_lie_about_it_masks_nothing(
        self, registry: Registry
    ) -> None:
        folder = replace(entry(1, "photos"), files=7)
        join(registry, 1, folder, entry(2, "photos/a"))
        join(registry, 2, entry(1, "photos"))
        assert [hit.names[0] for hit in find(registry, "photos")][-1] == "photos/a", (
            "a folder before its files"
        )
        assert {(hit.files, hit.sources) for hit in find(registry, "01" * 32, By.ID)} == {(7, 1), (0, 1)}
        assert len(registry.holders(b"\x01" * 32, b"", 9, 0.0)) == 2
        publish(registry, 1, 2, 3, [], [Gone(b"\x01" * 32, "photos")])
        assert [hit.files for hit in find(registry, "photos", By.NAME)] == [0]

    def test_filters(self, registry: Registry) -> None:
        join(
            registry,
            1,
            entry(1, "a.mp4"),
            entry(2, "b.MP4"),
            entry(3, "c.mp3"),
            entry(4, "mp4"),
            entry(5, "d.c"),
        )
        assert [hit.content_id[0] for hit in find(registry, "", ext="mp4")] == [1, 2]
        assert [hit.content_id[0] for hit in find(registry, "", ext=".Mp4", by=By.ALL)] == [1, 2]
        assert [hit.content_id[0] for hit in find(registry, "", ext="c")] == [5]
        assert [hit.content_id[0] for hit in find(registry, "", by=By.ALL, sizes=(2, 3))] == [2, 3]
        assert [hit.content_id[0] for hit in find(registry, "mp4", sizes=(2, 2))] == [2]
        assert find(registry, "02" * 32, By.ID, ext="mp3") == []
        assert find(registry, "fd" * 32, By.SHA256, sizes=(3, 9)) == []
        assert len(find(registry, "b.MP4", By.NAME, ext="mp4")) == 1

    def test_by_id_prefix_and_by_digest(self, registry: Registry) -> None:
        join(registry, 1, *(entry(number, f"alpha {number}") for number in range(1, 6)))
        assert names(registry, "03" * 32, By.ID) == names(registry, "03" * 4 + "0", By.ID) == ["alpha 3"]
        assert find(registry, "03" * 31 + "04", By.ID) == []
        assert names(registry, "fc" * 32, By.SHA256) == ["alpha 3"]

    def test_by_name_is_exact(self, registry: Registry) -> None:
        join(
            registry,
            1,
            entry(1, "dir/alpha.txt"),
            entry(2, "alpha.txt"),
            entry(3, "Alpha.txt"),
            entry(4, "alpha.txt"),
        )
        assert [hit.content_id[0] for hit in find(registry, "alpha.txt", By.NAME)] == [2, 4]
        assert find(registry, "alpha", By.NAME) == []

    def test_everything_comes_in_the_order_of_names(self, registry: Registry) -> None:
        join(
            registry,
            1,
            entry(1, "Beta"),
            entry(2, "alpha"),
            entry(3, "élan"),
            entry(4, "Alpha"),
            entry(5, "alpha"),
        )
        found = [hit.content_id[0] for hit in find(registry, by=By.ALL, page=1)]
        assert (sorted(found[:3]), found[3:]) == ([2, 4, 5], [1, 3])  # what folds to the same is in any order

    @pytest.mark.parametrize("page", [1, 2, 3, 7])
    @pytest.mark.parametrize("sort", list(Sort))
    def test_pages_have_no_gaps_and_no_repeats(self, registry: Registry, page: int, sort: Sort) -> None:
        for who in range(4):
            join(
                registry, who, *(entry(number + 2 * who, f"alpha {number} {who % 2}") for number in range(10))
            )
        whole = find(registry, "alpha", sort=sort)
        assert len(whole) == 16
        assert find(registry, "alpha", sort=sort, page=page) == whole

    def test_a_device_that_does_not_listen_serves_nothing(self, registry: Registry) -> None:
        announce(registry, 1, port=0)
        publish(registry, 1, 0, 1, [entry(1, "alpha")], reset=True)
        assert find(registry, "alpha") == find(registry, by=By.ALL) == []
        assert registry.holders(b"\x01" * 32, b"", 9, 0.0) == []
        assert len(registry.members(b"", b"", 9, 0.0)) == 1
        announce(registry, 1, port=2000)
        assert len(find(registry, "alpha")) == 1

    # -- holders and members --------------------------------------------------------------------------------

    def test_holders_leave_out_the_asker(self, registry: Registry) -> None:
        for who in (1, 2, 3):
            join(registry, who, entry(1, "alpha"), entry(1, "again"), entry(who + 10, "own"))
        found = registry.holders(b"\x01" * 32, device(2), 9, 0.0)
        assert sorted(card.device_id for card in found) == [device(1), device(3)]
        assert {(card.observed, card.port) for card in found} == {("10.0.0.1", 8001), ("10.0.0.3", 8001)}
        assert len(registry.holders(b"\x01" * 32, b"", 2, 0.0)) == 2
        assert registry.holders(b"\x09" * 32, b"", 9, 0.0) == []

    def test_members_come_in_order_and_in_pages(self, registry: Registry) -> None:
        for who in (3, 1, 2):
            join(registry, who, entry(who % 2, "alpha"))
        assert [item.card.device_id[0] for item in registry.members(b"", b"", 2, 0.0)] == [1, 2]
        assert [item.card.device_id[0] for item in registry.members(b"", device(2), 2, 0.0)] == [3]
        shared = registry.members(b"\x01" * 32, b"", 9, 0.0)
        assert [(item.card.device_id[0], item.files) for item in shared] == [(1, 1), (3, 1)]


def sizes(registry: Registry) -> list[int]:
    """What is claimed about content 1."""
    return [hit.size for hit in find(registry, "01" * 32, By.ID)]
