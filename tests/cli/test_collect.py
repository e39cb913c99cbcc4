"""`rm --all`, `retain`, `gc` and its plans, and `add --keep-if-best`, as a person sees them."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Person


def test_all_versions_of_an_artifact_are_removed_after_saying_what_they_take(person: Person) -> None:
    done = person.run("rm", "net", "--all")
    assert done.code == 1
    assert "net has 3 versions: " in done.err
    assert "of which nothing else uses " in done.err
    assert "bears the alias 'best'" in done.err
    done = person.run("rm", "net", "--all", "--dry-run")
    assert (done.code, "bears the alias 'best'" in done.err) == (1, True)
    done = person.run("rm", "net", "--all", "--dry-run", "--force")
    assert done.out == "Would remove net:v2\nWould remove net:v1\nWould remove net:v0\n"
    assert "Warning: The alias net:best would go" in done.err
    would = json.loads(person.run("rm", "net", "--all", "--dry-run", "--force", "--json").out)
    assert (would["dry_run"], would["version_count"], len(would["removed"])) == (True, 3, 3)
    assert person.json("log", "net")["versions"]
    done = person.run("rm", "net", "--all", "--force")
    assert done.out == "Removed net:v2\nRemoved net:v1\nRemoved net:v0\n"
    assert person.json("log", "net")["versions"] == []
    person.run("undo", "--artifact", "net")
    assert person.run("log", "net", "--oneline").out.count("net:v") == 3


@pytest.mark.parametrize("mode", [[], ["-q"], ["--json"]])
def test_an_alias_that_goes_is_said_loudly(person: Person, mode: list[str]) -> None:
    """Scripts have to hear of it, too: it is a warning in every mode."""
    done = person.run("rm", "best", "--force", *mode)
    assert "Warning: The alias net:best is gone: the version that it named is removed.\n" in done.err


def test_gc_says_what_it_does(person: Person) -> None:
    person.run("rm", "v1")
    assert "1 version removed lately can be restored" in person.run("gc").err
    assert "Would delete net:v1\nWould free " in person.run("gc", "--grace", "0", "--dry-run").out
    assert person.run("restore", "net:v1").code == 0
    person.run("rm", "v1")
    done = person.run("gc", "--grace", "0")
    assert (done.code, done.out.startswith("Deleted net:v1\nFreed ")) == (0, True)
    done = person.run("restore", "net:v1")
    assert (done.code, "The content of net:v1 is gone" in done.err) == (1, True)
    assert person.run("verify").code == 0
    assert person.run("gc", "-q").out == "0\n"


def test_the_log_says_what_can_still_be_restored(person: Person) -> None:
    for version in ("v0", "v1"):
        person.run("rm", version, "--force")
        if version == "v0":
            person.run("gc", "--grace", "0")
    shown = person.run("log", "--removed").out
    assert "v0 (removed, gone)" in shown
    assert "v1 (removed) " in shown
    lines = person.run("log", "--removed", "--oneline").out.splitlines()
    assert [line.partition("  [")[2] for line in lines] == ["", "removed]", "removed, gone]"]
    for document in (
        person.json("log", "--removed"),
        person.json("log", "--removed", "--metrics"),
        *person.json("log", "--removed", "--all")["artifacts"][:1],
    ):
        told = {version["version"]: version["restorable"] for version in document["versions"]}
        assert told == {"v2": None, "v1": "yes", "v0": "no"}
    assert person.run("restore", "net:v0").code == 1
    assert person.run("restore", "net:v1").code == 0


def test_the_log_says_what_a_remote_would_be_asked_for(person: Person) -> None:
    person.run("remote", "add", "origin", str(person.here / "remote"))
    person.run("push")
    person.run("rm", "v0", "--force")
    person.run("gc", "--grace", "0")
    assert "v0 (removed, not here)" in person.run("log", "--removed").out
    told = {version["version"]: version["restorable"] for version in person.json("log", "--removed")["versions"]}
    assert told == {"v2": None, "v1": None, "v0": "remote"}
    assert person.run("restore", "net:v0").code == 0


def pack_bytes(person: Person) -> int:
    return sum(path.stat().st_size for path in (person.here / ".mlver/packs").glob("*.pack"))


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_du_agrees_with_what_gc_says(person: Person, options: list[str]) -> None:
    (person.here / "model/extra").write_bytes(bytes(range(256)) * 999)
    person.run("add", "model", "--name", "net")
    person.run("rm", "v3", "v1")
    before = person.json("du")
    files = pack_bytes(person)
    assert before["pack_bytes"] == files
    assert before["unused_bytes"] > 0
    said = person.json("gc", "--grace", "0", *options)
    after = person.json("du")
    if options:
        assert after == before
        assert said["bytes_after"] < said["bytes_before"]
        said = person.json("gc", "--grace", "0")
        after = person.json("du")
    assert said["freed_bytes"] == before["pack_bytes"] - after["pack_bytes"] == files - pack_bytes(person) > 0
    assert (said["bytes_before"], said["bytes_after"]) == (before["pack_bytes"], after["pack_bytes"])
    assert after["unused_bytes"] == said["left_bytes"] + said["held_bytes"]
    assert after["stored_bytes"] == before["stored_bytes"]
    assert "All packs together are " in person.run("du").err


def test_versions_are_listed_by_number(person: Person) -> None:
    for number in range(3, 12):
        (person.here / "model/extra").write_text(str(number))
        assert person.run("add", "model").code == 0
    assert person.run("rm", "net:v9", "net:v10", "net:v3").code == 0
    assert person.json("gc", "--dry-run", "--grace", "0")["versions"] == ["net:v3", "net:v9", "net:v10"]


def test_gc_at_a_remote_says_what_it_does(person: Person) -> None:
    assert person.run("remote", "add", "origin", str(person.here / "shared")).code == 0
    assert person.run("push").code == 0
    person.run("rm", "v1")
    assert person.run("push").code == 0
    assert "1 version removed lately can be restored" in person.run("gc", "--remote").err
    assert "Would delete net:v1\nWould free " in person.run("gc", "--remote", "--grace", "0", "--dry-run").out
    done = person.run("gc", "--remote", "origin", "--grace", "0")
    assert (done.code, done.out.startswith("Deleted net:v1\nFreed ")) == (0, True)
    assert " at origin: " in done.out
    assert person.run("verify", "--remote").code == 0
    assert person.run("gc", "--remote", "nowhere").code == 1


def test_repair_says_what_it_does(person: Person) -> None:
    assert "There was nothing to mend." in person.run("verify", "--repair").out
    (person.here / "kept").mkdir()
    for pack in (person.here / ".mlver/packs").iterdir():
        pack.chmod(0o600)
        pack.write_bytes(pack.read_bytes()[:200])
    done = person.run("verify", "--repair")
    assert done.code == 12
    assert "beyond help chunk " in done.out
    assert "damages beyond help in " in done.out
    assert "moved a damaged pack to .mlver/quarantine/packs/" in done.out
    assert "mlver verify --repair --from DIR" in done.err
    assert person.run("pull", "v2", "-o", "out").code == 12
    done = person.run("verify", "--repair", "--from", "model")
    assert "recovered " in done.out
    assert f"chunks from {'model'}" in done.out
    assert person.run("pull", "v2", "-o", "out").code == 0


def test_rules_and_a_plan(person: Person) -> None:
    assert "Everything is kept" in person.run("retain").err
    assert (
        person.run("retain", "--last", "1").out.split("\n")[1].startswith("repository  what bears an alias or a tag; ")
    )
    shown = person.run("gc", "--plan", "--grace", "0").out
    assert "To be removed" in shown
    assert "Another " not in shown
    assert "Another " in person.run("gc", "--plan").out  # the grace period has to pass first
    assert "net:v1" in shown
    assert "net:v0" not in shown  # it bears an alias
    (person.here / "plan.json").write_text(person.run("gc", "--plan", "--grace", "0", "--json").out)
    person.run("note", "v2", "something else happens")
    done = person.run("gc", "--apply", "plan.json")
    assert (done.code, "does not fit any more" in done.err) == (14, True)
    (person.here / "plan.json").write_text(person.run("gc", "--plan", "--grace", "0", "--json").out)
    done = person.run("gc", "--apply", "plan.json")
    assert done.out.startswith("Removed net:v1\nDeleted net:v1\nFreed ")
    assert person.run("retain", "--clear").code == 0


def test_the_rules_that_count_are_shown(person: Person) -> None:
    person.run("retain", "--last", "2")
    assert "repository  " in person.run("retain", "net").out
    done = person.run("retain", "--type", "nosuch", "--last", "7")
    assert "Warning: No artifact is of type 'nosuch' yet." in done.err
    person.run("retain", "net", "--last", "5")
    shown = person.json("retain", "net")["policies"]
    assert [(policy["artifact"], policy["type"], policy["last"]) for policy in shown] == [("net", None, 5)]
    assert "the last 7" in person.run("retain", "--type", "nosuch").out
    assert "the last 2" in person.run("retain", "--type", "other").out
    person.run("retain", "--clear")
    assert "Everything is kept" in person.run("retain", "--type", "other").err
    assert len(person.json("retain")["policies"]) == 2
    assert person.run("retain", "nosuch").code == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("gc --dry-run --plan", "exclude each other"), ("gc --level max", "--level is for --repack"),
        ("gc origin", "With --remote it would be a remote"), ("gc --remote --plan", "--dry-run and --grace only"),
        ("verify --from model", "--from is for --repair"), ("verify v0 --repair", "name no version"),
        ("verify --remote --repair", "mlver push mends"), ("verify --repair --from ", "the path is empty"),
        ("gc --grace soon", "is no duration"), ("gc --apply absent.json", "cannot be read"),
        ("gc --apply model/net.safetensors", "is no JSON"),
        ("gc --apply model/conf/config.json", "is no plan: its fields"),
        ("rm v0 v1 --all", "one artifact at a time"),
        ("retain net --type t --last 1", "exclude each other"),
        ("retain --clear --last 1", "exclude each other"),
        ("retain --daily soon", "is no duration"), ("retain --daily 0", "keeps nothing"),
        ("add model --keep-if-best acc", "is not given"),
    ],
)  # fmt: skip
def test_wrong_usage(person: Person, arguments: str, message: str) -> None:
    done = person.run(*arguments.split(" "))
    assert done.code == 2
    assert message in done.err


def test_only_what_is_better_is_added(person: Person) -> None:
    (person.here / "model/extra").write_text("x")
    worse = person.run("add", "model", "--metric", "acc=0.5", "--keep-if-best", "acc")
    assert worse.out == "Not added: acc=0.5 is not better than 0.875 of net:v2\n"
    assert person.run("add", "model", "--metric", "acc=0.9", "--keep-if-best", "acc", "-q").out == "net:v3\n"
