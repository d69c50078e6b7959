"""Every command in every shape against the fake daemon; `add`, `download` and `wait` have files of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from protocol.errors import Fault
from tests.fakes.schemas import validate
from tests.p2pctl import samples
from tests.p2pctl.conftest import Daemon, Run
from tests.p2pctl.samples import HOSTILE, ID, OTHER, SAFE, SHA256, SHARED_AT, page

PLANS: dict[str, tuple[str, Any, list[str], list[dict[str, Any]], str | None, str]] = {
    # command: method, answer, argv, items, human, quiet
    "list": (
        "list",
        page(samples.share(), samples.share(id=OTHER, name="b", size_bytes=5, state="missing")),
        ["list"],
        [samples.share(), samples.share(id=OTHER, name="b", size_bytes=5, state="missing")],
        "example.txt - Size: 1024 bytes\nb - Size: 5 bytes (missing)\n",
        f"{ID}\n{OTHER}\n",
    ),
    "remove": (
        "remove",
        samples.share(removed=True),
        ["remove", "example.txt"],
        [samples.share(removed=True)],
        "Removed example.txt from shared files\n",
        f"{ID}\n",
    ),
    "search": (
        "search",
        page(samples.hit(), samples.hit(id=OTHER, size_bytes=5, shared_at=None, sources=10)),
        ["search", "example"],
        [samples.hit(), samples.hit(id=OTHER, size_bytes=5, shared_at=None, sources=10)],
        None,  # the age moves on: see TestSearch
        f"{ID}\n{OTHER}\n",
    ),
    "all_files": (
        "all_files",
        page(samples.hit(shared_at=None)),
        ["all-files"],
        [samples.hit(shared_at=None)],
        "ID           SIZE  SOURCES  AGE  NAME\n7f3a91c2  1.4 GiB        3    -  example.txt\n",
        f"{ID}\n",
    ),
    "info": (
        "info",
        samples.hit(
            names=["example.txt", "same.txt"],
            size_bytes=3 * 2**20,
            pieces=3,
            piece_size_bytes=2**20,
            path="/d/e",
            state="shared",
            peers=[samples.peer(host="fd00::1")],
        ),
        ["info", "example.txt"],
        [
            samples.hit(
                names=["example.txt", "same.txt"],
                size_bytes=3 * 2**20,
                pieces=3,
                piece_size_bytes=2**20,
                path="/d/e",
                state="shared",
                peers=[samples.peer(host="fd00::1")],
            )
        ],
        "name    example.txt\n"
        "also    same.txt\n"
        f"id      {ID}\n"
        f"sha256  {SHA256}\n"
        "size    3.0 MiB (3145728 bytes)\n"
        "pieces  3 of 1.0 MiB\n"
        f"shared  {SHARED_AT}\n"
        "here    /d/e (shared)\n"
        f"source  [fd00::1]:8001  {'d' * 32}\n",
        f"{ID}\n",
    ),
    "peers": (
        "peers",
        page(samples.peer(), samples.peer(host="fd00::1", device_id="e" * 32, self=True, files=None)),
        ["peers"],
        [samples.peer(), samples.peer(host="fd00::1", device_id="e" * 32, self=True, files=None)],
        "ADDRESS             FILES  DEVICE\n"
        f"192.168.1.100:8001      3  {'d' * 32}\n"
        f"[fd00::1]:8001          -  {'e' * 32} (this device)\n",
        f"{'d' * 32}\n{'e' * 32}\n",
    ),
    "transfers": (
        "transfers",
        page(samples.begun(received_bytes=512, eta_s=2.0), samples.transfer(transfer="t-0", size_bytes=0)),
        ["transfers"],
        [samples.begun(received_bytes=512, eta_s=2.0), samples.transfer(transfer="t-0", size_bytes=0)],
        "TRANSFER  STATE        DONE     SIZE        RATE   LEFT  SOURCES  NAME\n"
        "t-1       downloading   50%  1.0 KiB  10.0 KiB/s  2.0 s        0  example.txt\n"
        "t-0       done         100%      0 B  10.0 KiB/s      -        1  example.txt\n",
        "t-1\nt-0\n",
    ),
    "cancel": (
        "cancel",
        samples.begun(state="cancelled", changed=True),
        ["cancel", "t-1"],
        [samples.begun(state="cancelled", changed=True)],
        "Cancelled t-1 (example.txt)\n",
        "t-1\n",
    ),
    **{
        command: (
            command,
            samples.begun(changed=True),
            [command, "t-1"],
            [samples.begun(changed=True)],
            f"{word} t-1 (example.txt)\n",
            "t-1\n",
        )
        for command, word in (("pause", "Paused"), ("resume", "Resumed"), ("retry", "Trying again"))
    },
    "wants": (
        "wants",
        page(samples.want(), samples.want(want="w-2", transfer="t-9", transfer_state="done")),
        ["wants"],
        [samples.want(), samples.want(want="w-2", transfer="t-9", transfer_state="done")],
        None,
        "w-1\nw-2\n",
    ),
    "unwant": (
        "unwant",
        samples.want(changed=True),
        ["unwant", "w-1"],
        [samples.want(changed=True)],
        "Gave up w-1 (holiday video)\n",
        "w-1\n",
    ),
    "bans": (
        "bans",
        page(samples.ban(), samples.ban(subject="10.0.0.0/8", kind="network", until_at=None, left_s=None)),
        ["bans"],
        [samples.ban(), samples.ban(subject="10.0.0.0/8", kind="network", until_at=None, left_s=None)],
        "BANNED                            LEFT      BECAUSE OF  REASON\n"
        f"{'d' * 32}  1h 0m     by hand     noise\n"
        "10.0.0.0/8                        for good  by hand     noise\n",
        f"{'d' * 32}\n10.0.0.0/8\n",
    ),
    "ban": (
        "ban",
        samples.ban(),
        ["ban", "d" * 32, "--for", "1h"],
        [samples.ban()],
        f"Banned {'d' * 32} for 1h 0m\n",
        f"{'d' * 32}\n",
    ),
    "unban": (
        "unban",
        {"subject": "d" * 32, "kind": "device", "changed": True},
        ["unban", "d" * 32],
        [{"subject": "d" * 32, "kind": "device", "changed": True}],
        f"Unbanned {'d' * 32}\n",
        f"{'d' * 32}\n",
    ),
    "tracker": (
        "tracker_peers",
        page(samples.LISTED),
        ["tracker", "peers"],
        [samples.LISTED],
        "ADDRESS             FILES  UNTIL                 DEVICE\n"
        f"192.168.1.100:8001      3  {SHARED_AT}  {'d' * 32}\n",
        f"{'d' * 32}\n",
    ),
    "status": (
        "status",
        samples.STATUS,
        ["status"],
        [samples.STATUS],
        "p2pd       0.1.0, pid 4711, up 5h 12m\n"
        "network    lab (key check k-3fd2a901)\n"
        f"device     {'d' * 32}\n"
        "peer       192.168.1.100:8001, 1 file shared (1.0 KiB), 2 uploads\n"
        "tracker    hub:9000 connected, 5 peers, 120 files, publishing\n"
        "tracker    old:9000 has another password, the password differs\n"
        "serving    tracker on 192.168.1.100:9000, 5 devices, 120 files\n"
        "transfers  1 active, 7 done\n"
        "rates      down 35.0 MiB/s, up 0 B/s\n",
        f"{'d' * 32}\n",
    ),
    "ping": (
        "ping",
        {"version": "0.1.0", "uptime_s": 5.0, "pid": 4711},
        ["ping"],
        [{"version": "0.1.0", "uptime_s": 5.0, "pid": 4711}],
        "p2pd 0.1.0 answers (pid 4711, up 5.0 s)\n",
        "4711\n",
    ),
    "shutdown": (
        "shutdown",
        {"pid": 4711, "stopping": True},
        ["shutdown", "--no-wait"],
        [{"pid": 4711, "stopping": True}],
        "p2pd (pid 4711) is stopping\n",
        "4711\n",
    ),
}

EMPTY = {
    "list": "no files are shared",
    "search": "no file matches",
    "all_files": "nobody shares a file",
    "peers": "no peers are known",
    "transfers": "no transfers",
    "bans": "nobody is banned",
    "wants": "nothing is wanted",
}


@pytest.fixture
def plan(request: pytest.FixtureRequest, daemon: Daemon) -> Any:
    plan = PLANS[request.param]
    daemon.on[plan[0]] = plan[1]
    return (request.param, *plan)


@pytest.mark.parametrize("plan", PLANS, indirect=True)
class TestEveryShape:
    def test_json(self, plan: Any, p2pctl: Run) -> None:
        command, _, _, argv, items, _, _ = plan
        for words in (["--json", *argv], [*argv, "--json"]):
            got = p2pctl(*words)
            assert (got.status, got.err) == (0, "")
            assert got.document == {
                "schema": f"p2p.{command}/1",
                "items": items,
                "partial": False,
                "next": None,
                "warnings": [],
            }
            validate(command, got.document)  # so the plan is an answer that there can be

    def test_jsonl(self, plan: Any, p2pctl: Run) -> None:
        _, _, _, argv, items, _, _ = plan
        got = p2pctl("--jsonl", *argv)
        assert (got.status, got.err) == (0, "")
        assert [json.loads(line) for line in got.out.splitlines()] == items

    def test_tsv(self, plan: Any, p2pctl: Run) -> None:
        _, _, _, argv, items, _, _ = plan
        got = p2pctl("--tsv", "--header", *argv)
        assert (got.status, got.err) == (0, "")
        head, *lines = [line.split("\t") for line in got.out.splitlines()]
        assert set(head) <= set(items[0])
        assert len(lines) == len(items)
        for line, item in zip(lines, items, strict=True):
            cells = dict(zip(head, line, strict=True))
            for name, cell in cells.items():
                value = item[name]
                if value is None:
                    assert cell == ""
                elif isinstance(value, str):
                    assert cell == value
                else:
                    assert json.loads(cell) == value

    def test_human(self, plan: Any, p2pctl: Run) -> None:
        _, _, _, argv, _, human, _ = plan
        got = p2pctl(*argv)
        assert (got.status, got.err) == (0, "")
        if human is not None:
            assert got.out == human

    def test_quiet(self, plan: Any, p2pctl: Run) -> None:
        _, _, _, argv, _, _, quiet = plan
        got = p2pctl("-q", *argv)
        assert (got.status, got.out, got.err) == (0, quiet, "")

    def test_verbose_says_more(self, plan: Any, p2pctl: Run) -> None:
        command, _, _, argv, items, human, _ = plan
        got = p2pctl("-v", *argv)
        assert (got.status, got.err) == (0, "")
        if command in ("list", "search", "all_files", "transfers"):
            assert ID in got.out
        if command == "status":
            assert items[0]["home"] in got.out
            assert items[0]["home"] not in human

    def test_a_hostile_name(self, plan: Any, daemon: Daemon, p2pctl: Run) -> None:
        _, method, answer, argv, _, _, _ = plan
        if "name" not in (answer.get("items") or [answer])[0]:
            pytest.skip("shows no name")
        bad = {"name": HOSTILE}
        daemon.on[method] = (
            {**answer, **bad} if "items" not in answer else page({**answer["items"][0], **bad})
        )
        for words in (argv, ["-v", *argv]):
            out = p2pctl(*words).out
            assert SAFE in out
            assert "\x1b" not in out
        assert p2pctl("--json", *argv).document["items"][0]["name"] == HOSTILE
        lines = p2pctl("--tsv", *argv, "--columns", "name").out
        assert lines == HOSTILE.replace("\t", "\\t") + "\n"


@pytest.mark.parametrize("command", EMPTY)
def test_an_empty_list_is_no_failure(daemon: Daemon, p2pctl: Run, command: str) -> None:
    daemon.on[command] = page()
    argv = [command, "x"] if command == "search" else [command]
    got = p2pctl(*argv)
    assert (got.status, got.out, got.err) == (0, "", EMPTY[command] + "\n")
    got = p2pctl(*argv, "--json")
    assert (got.status, got.document["items"], got.err) == (0, [], "")
    for shape in ("--tsv", "--jsonl", "-q"):
        got = p2pctl(*argv, shape)
        assert (got.status, got.out, got.err) == (0, "", "")


@pytest.mark.parametrize("command", ["list", "all_files", "transfers", "peers"])
class TestPages:
    ITEMS = {
        "list": samples.share(),
        "all_files": samples.hit(),
        "transfers": samples.transfer(),
        "peers": samples.peer(),
    }

    @pytest.fixture(autouse=True)
    def three(self, command: str, daemon: Daemon) -> None:
        item = self.ITEMS[command]

        def answer(request: Any, send: Any) -> dict[str, Any]:
            here = int(request.params["cursor"] or 0)
            following = None if here == 2 else str(here + 1)
            return page(item, item, next=following, partial=here == 1)

        daemon.on[command] = answer

    def test_all_are_followed(self, command: str, daemon: Daemon, p2pctl: Run) -> None:
        document = p2pctl("--json", command).document
        assert (len(document["items"]), document["next"], document["partial"]) == (6, None, True)
        assert len(p2pctl("-q", command).out.splitlines()) == 6
        assert [params["cursor"] for params in daemon.params(command)[:3]] == [None, "1", "2"]

    def test_limit_and_cursor_are_obeyed(self, command: str, daemon: Daemon, p2pctl: Run) -> None:
        document = p2pctl("--json", command, "--limit", "2").document
        assert (len(document["items"]), document["next"]) == (2, "1")
        document = p2pctl("--json", command, "--cursor", "1").document
        assert (len(document["items"]), document["next"]) == (2, "2")
        got = p2pctl(command, "--cursor", "1")
        assert "more follow: --cursor 2" in got.err


class TestSearch:
    def test_parameters(self, daemon: Daemon, p2pctl: Run) -> None:
        daemon.on["search"] = page(samples.hit())
        argv = ["--ext", ".tar", "--min-size", "1K", "--max-size", "2G", "--sort", "size", "--limit", "3"]
        argv += ["--not", "draft", "--not", '"old copy"']
        assert p2pctl("search", "big", *argv, "data").status == 0
        assert daemon.params("search") == [
            {
                "text": "big data",
                "ext": "tar",
                "min_size_bytes": 1024,
                "max_size_bytes": 2**31,
                "sort": "size",
                "without": ["draft", '"old copy"'],
                "limit": 3,
                "cursor": None,
            }
        ]

    def test_the_table(self, daemon: Daemon, p2pctl: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("time.time", lambda: 1787044364.0 + 4 * 86400)
        daemon.on["search"] = page(samples.hit(), samples.hit(id=OTHER, size_bytes=5, sources=10, local=True))
        assert p2pctl("search", "example").out == (
            "ID           SIZE  SOURCES  AGE  NAME\n"
            "7f3a91c2  1.4 GiB        3   4d  example.txt\n"
            "0be4d7aa      5 B       10   4d  example.txt\n"
        )

    def test_other_names_of_a_file_are_shown_with_it(self, daemon: Daemon, p2pctl: Run) -> None:
        names = ["a.txt", "b\x1b.txt", "c.txt", "d.txt", "e.txt"]
        daemon.on["search"] = page(samples.hit(name="a.txt", names=names))
        assert "  a.txt (also b\\u{1b}.txt, c.txt and 2 more)\n" in p2pctl("search", "x").out
        assert "  a.txt (also b\\u{1b}.txt, c.txt, d.txt, e.txt)\n" in p2pctl("search", "x", "-v").out
        assert p2pctl("--json", "search", "x").document["items"][0]["names"] == names

    def test_one_page_unless_more_is_asked_for(self, daemon: Daemon, p2pctl: Run) -> None:
        daemon.on["search"] = page(samples.hit(), next="c", partial=True, warnings=["hub did not answer"])
        got = p2pctl("search", "a")
        assert got.err == "p2pctl: hub did not answer\np2pctl: more follow: --cursor c\n"
        assert len(daemon.params("search")) == 1

    def test_require(self, daemon: Daemon, p2pctl: Run) -> None:
        daemon.on["search"] = page()
        got = p2pctl("--json", "search", "a", "--require")
        assert (got.status, got.out, got.error["code"]) == (4, "", "not_found")
        daemon.on["search"] = page(samples.hit())
        assert p2pctl("search", "a", "--require").status == 0


def test_an_ambiguous_reference_lists_the_matches(daemon: Daemon, p2pctl: Run) -> None:
    matches = [{"id": ID, "name": HOSTILE, "size_bytes": 1024}, {"id": OTHER, "name": "b", "size_bytes": 5}]
    daemon.on["info"] = Fault("ambiguous", "2 files match", "write more digits", {"matches": matches})
    got = p2pctl("info", "7f3a91c2")
    assert got.status == 5
    assert SAFE in got.err
    assert OTHER[:16] in got.err
    assert p2pctl("--json", "info", "7f3a91c2").error["details"] == {"matches": matches}


def test_peers_of_a_file(daemon: Daemon, p2pctl: Run) -> None:
    daemon.on["peers"] = page(samples.peer())
    p2pctl("peers", "example.txt")
    assert daemon.params("peers") == [{"ref": "example.txt", "cursor": None, "limit": None}]


@pytest.mark.parametrize("command", ["remove", "info", "cancel"])
def test_several_arguments_of_which_one_fails(daemon: Daemon, p2pctl: Run, command: str) -> None:
    def answer(request: Any, send: Any) -> dict[str, Any]:
        if "b" in request.params.values():
            raise Fault("not_found", "nothing matches")
        return samples.transfer(removed=True)

    daemon.on[command] = answer
    got = p2pctl("--json", command, "a", "b", "c")
    assert (got.status, len(got.document["items"]), got.document["failed"][0]["subject"]) == (12, 2, "b")
    assert p2pctl(command, "b").status == 4


def test_status_of_a_tracker_alone(daemon: Daemon, p2pctl: Run) -> None:
    daemon.on["status"] = {**samples.STATUS, "peer": None, "trackers": [], "transfers": {}, "rates": {}}
    out = p2pctl("status").out
    assert "serving" in out
    assert "transfers  none" in out
    assert "\npeer " not in out


class TestPing:
    def test_nobody_there(self, place: Path, p2pctl: Run) -> None:
        got = p2pctl("--home", str(place / "none"), "ping")
        assert (got.status, got.out) == (3, "")

    def test_waiting_in_vain(self, place: Path, p2pctl: Run) -> None:
        assert p2pctl("--home", str(place / "none"), "ping", "--wait-daemon", "0.2").status == 3

    def test_a_daemon_that_is_there_answers_at_once(self, daemon: Daemon, p2pctl: Run) -> None:
        daemon.on["ping"] = PLANS["ping"][1]
        assert p2pctl("ping", "--wait-daemon", "30").status == 0
        assert len(daemon.params("ping")) == 1
