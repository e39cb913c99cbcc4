"""Small bugs that are planted one at a time, and the tests that must notice each.

A mutant is a piece of the source that occurs exactly once, and what takes its place. Where the source has moved on,
`test_mutants.py` says so.
"""

from __future__ import annotations

from dataclasses import dataclass

_LOCAL = "mlver/store/local.py"
_SAMPLED = "tests/fault/test_sampled.py"
_ORDER = f"{_SAMPLED}::test_nothing_is_published_before_what_it_rests_on"
_CRASH = f"{_SAMPLED}::test_a_power_cut_leaves_the_old_state_or_the_new"


@dataclass(frozen=True)
class Mutant:
    """A planted bug.

    Attributes:
        name: What it does, in a few words.
        path: The file it is in.
        old: A piece of it that occurs once.
        new: What takes its place.
        catchers: Tests of which at least one must fail.
    """

    name: str
    path: str
    old: str
    new: str
    catchers: tuple[str, ...]


MUTANTS = (
    # What is durable, and when
    Mutant(
        "a file is not flushed",
        "mlver/store/temporary.py",
        "            os.fsync(self._open())\n",
        "            self._open()\n",
        (f"{_ORDER}[alias]", f"{_CRASH}[alias]"),
    ),
    Mutant(
        "a failed flush is tried again",
        "mlver/store/temporary.py",
        "            os.fsync(self._open())\n",
        "            try:\n                os.fsync(self._open())\n"
        "            except OSError:\n                os.fsync(self._open())\n",
        ("tests/unit/store/test_local_faults.py::test_a_file_whose_flush_failed_is_never_flushed_again",),
    ),
    Mutant(
        "room on the disk is kept that nothing needs",
        "mlver/store/temporary.py",
        "                os.ftruncate(self._open(), self.size_bytes)\n",
        "                pass\n",
        ("tests/unit/store/test_local.py",),
    ),
    Mutant(
        "the folder of an event is not flushed",
        _LOCAL,
        "the caller will rely on it.\n            os.fsync(folder)\n",
        "the caller will rely on it.\n",
        (f"{_ORDER}[alias]", f"{_CRASH}[alias]"),
    ),
    Mutant(
        "the folder of a pack is not flushed",
        _LOCAL,
        "        ):\n            os.rename(file.name, last, src_dir_fd=temporary_folder, dst_dir_fd=folder)\n"
        "            os.fsync(folder)\n",
        "        ):\n            os.rename(file.name, last, src_dir_fd=temporary_folder, dst_dir_fd=folder)\n",
        (f"{_ORDER}[add-first]",),
    ),
    Mutant(
        "a folder that was made is not flushed",
        _LOCAL,
        "        os.mkdir(name, dir_fd=folder)\n    os.fsync(folder)\n",
        "        os.mkdir(name, dir_fd=folder)\n",
        (f"{_CRASH}[init]", "tests/unit/store/test_local_faults.py"),
    ),
    Mutant(
        "init does not flush the folder that .mlver is in",
        "mlver/ops/placing.py",
        "        _sync_folder(made.parent)\n",
        "        made.stat()\n",
        (f"{_ORDER}[init]",),
    ),
    Mutant(
        "pulled files are not flushed",
        "mlver/ops/materialise.py",
        "                if self._flush:\n                    os.fsync(descriptor)\n",
        "                if self._flush:\n                    os.fstat(descriptor)\n",
        (f"{_ORDER}[pull]", f"{_CRASH}[pull]"),
    ),
    Mutant(
        "pull finds out at the end that there is no room",
        "mlver/ops/materialise.py",
        "        file.make_room()\n",
        "",
        ("tests/unit/ops/test_materialise.py",),
    ),
    Mutant(
        "what is brought as the writer of a file stops is not written",
        "mlver/ops/materialise.py",
        "        while self._waiting and self._writing.acquire(",
        "        if self._waiting and self._writing.acquire(",
        ("tests/unit/ops/test_materialise.py",),
    ),
    Mutant(
        "a pull into a folder does not flush the folders it makes there",
        "mlver/ops/placing.py",
        "                os.mkdir(part, dir_fd=descriptor)\n                os.fsync(descriptor)\n",
        "                os.mkdir(part, dir_fd=descriptor)\n",
        (f"{_SAMPLED}::test_what_was_pulled_is_durable_with_the_folders_on_the_way",),
    ),
    Mutant(
        "packs are not waited for",
        "mlver/chunks/writer.py",
        "        while self._committing:\n            self._committing.popleft().result()\n        if self._relied",
        "        if self._relied",
        (
            "tests/unit/test_chunks.py::test_full_packs_are_committed_while_the_next_is_filled",
            "tests/unit/test_chunks.py::test_pack_that_cannot_be_written_leaves_nothing",
            f"{_ORDER}[add-first]",
        ),
    ),
    Mutant(
        "what is relied on is not made durable",
        "mlver/chunks/writer.py",
        "            self._storage.sync(PACKS_FOLDER)\n",
        "            self._storage.list(PACKS_FOLDER)\n",
        ("tests/unit/test_chunks.py::test_what_is_relied_on_is_made_durable",),
    ),
    Mutant(
        "manifests that gc deletes at a remote may come back when their packs are gone",
        "mlver/ops/remotes/collect/collect.py",
        "        self._remote.storage.sync(MANIFESTS_FOLDER)",
        "        self._remote.storage.list(MANIFESTS_FOLDER)",
        ("tests/fault/test_sampled.py::test_packs_go_when_what_names_them_is_gone_for_good",),
    ),
    Mutant(
        "the cache keeps one journal for all transactions",
        "mlver/store/sqlite.py",
        "PRAGMA journal_mode=DELETE",
        "PRAGMA journal_mode=TRUNCATE",
        ("tests/fault/test_caches.py",),
    ),
    # One winner, and the others are told
    Mutant(
        "a name that is taken is replaced",
        "mlver/store/exclusive.py",
        "    except FileExistsError:\n        return _is_same_file(temporary, temporary_folder, name, folder)\n",
        "    except FileExistsError:\n"
        "        os.rename(temporary, name, src_dir_fd=temporary_folder, dst_dir_fd=folder)\n        return True\n",
        ("tests/unit/store/test_local.py::test_of_many_processes_one_creates",),
    ),
    Mutant(
        "who loses a number takes the winner's event for its own",
        "mlver/history/log.py",
        "        return self.read(event.number).write_id == event.write_id\n",
        "        return self.read(event.number).number == event.number\n",
        ("tests/unit/ops/test_labels.py::test_loser_of_a_race_decides_anew",),
    ),
    Mutant(
        "a temporary file whose writer lives is swept",
        "mlver/store/temporary.py",
        "        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)\n        if os.fstat",
        "        if os.fstat",
        ("tests/unit/store/test_local.py", "tests/unit/ops/test_faults.py"),
    ),
    # What is read is what was written
    Mutant(
        "a frame's checksum is not compared",
        "mlver/store/frames.py",
        "    if hasher.intdigest() != checksum or not _are_bases(bases, chunk):\n",
        "    if not _are_bases(bases, chunk):\n",
        ("tests/unit/store/test_pack.py::test_every_changed_byte_is_found",),
    ),
    Mutant(
        "a chunk's digest is not compared when it is read",
        "mlver/chunks/reader.py",
        "            if chunk_id(found.raw) == chunk:\n",
        "            if found.raw is not None:\n",
        ("tests/unit/test_chunks.py::test_bytes_of_another_chunk_are_refused_though_every_checksum_is_right",),
    ),
    Mutant(
        "what a pull received is let in unchecked",
        "mlver/ops/remotes/receiving.py",
        "            incoming.check()\n",
        "            incoming.index.packs()\n",
        ("tests/unit/ops/remotes/test_remote_faults.py::test_a_frame_that_lies_about_its_chunk_is_not_let_in",),
    ),
    Mutant(
        "what was encoded is not read back",
        "mlver/chunks/encoding.py",
        "        if codec.decodes_to(encoded, raw, base.raw if base else None):\n",
        "        if True:\n",
        ("tests/unit/test_chunks.py::test_what_decodes_to_something_else_is_never_stored",),
    ),
    # What may go
    Mutant(
        "gc ignores the grace period",
        "mlver/ops/collect/survey.py",
        "        return stays(state, self.horizon) or (self._first or {}).get(identity) != state\n",
        "        return bool(state.live) or (self._first or {}).get(identity) != state\n",
        ("tests/unit/ops/collect/test_collect.py",),
    ),
    Mutant(
        "gc does not look again before it deletes packs",
        "mlver/ops/collect/collect.py",
        "            if contains(needed, keys[~contains(elsewhere, keys)]).any():\n",
        "            if False:\n",
        ("tests/unit/ops/collect/test_faults.py",),
    ),
    Mutant(
        "gc does not look again before it deletes manifests",
        "mlver/ops/collect/collect.py",
        "            used = [identity for identity in gone if self._is_used(identity)]\n",
        "            used: list[ManifestId] = []\n",
        ("tests/unit/ops/collect/test_faults.py",),
    ),
    Mutant(
        "gc drops what others rest on",
        "mlver/ops/collect/stock.py",
        "        news = bases[~contains(found, bases)]\n",
        "        news = bases[:0]\n",
        (
            "tests/unit/ops/collect/test_plan.py::test_with_bases_is_all_that_any_copy_rests_on",
            "tests/unit/ops/collect/test_plan.py::test_nothing_is_lost_that_is_used_or_stays",
        ),
    ),
    Mutant(
        "gc goes on though a version is not whole",
        "mlver/ops/collect/survey.py",
        "        while (lost := self._lost_version()) is not None:\n",
        "        while (lost := None) is not None:\n",
        ("tests/unit/ops/collect/test_collect.py::test_a_missing_pack_stops_it",),
    ),
    Mutant(
        "a writer does not look whether what it relies on is there",
        "mlver/ops/reliance.py",
        "    return frozenset(lost) if lost else None\n",
        "    return None\n",
        (
            "tests/unit/ops/collect/test_collect.py::test_what_is_being_added_again_stays",
            "tests/unit/ops/collect/test_processes.py::test_a_writer_that_is_stopped_for_longer_than_the_grace_period",
            "tests/unit/ops/collect/test_faults.py",
        ),
    ),
    Mutant(
        "an alias does not protect its version",
        "mlver/ops/removal.py",
        "    if aliases and not force:\n",
        "    if aliases and force is None:\n",
        ("tests/unit/ops/test_labels.py::test_removal_spares_aliases",),
    ),
    Mutant(
        "repair deletes what it replaces",
        "mlver/ops/repair/quarantine.py",
        "    storage.create(kept, data)\n    return kept\n",
        "    return kept\n",
        ("tests/unit/ops/repair/test_repair.py::test_the_damaged_files_are_kept",),
    ),
    Mutant(
        "repair throws damaged packs away",
        "mlver/ops/repair/quarantine.py",
        "    if not storage.rename(name, kept):\n        return None\n",
        "    storage.delete(name)\n",
        ("tests/unit/ops/repair/test_repair.py::test_the_damaged_files_are_kept",),
    ),
    # What comes from outside
    Mutant(
        "a path may have a backslash, a colon and the like",
        "mlver/names.py",
        "        if char in _FORBIDDEN or ord(char) < 32 or",
        "        if ord(char) < 32 or",
        ("tests/unit/test_names.py::test_path_that_would_not_survive_is_refused_by_name",),
    ),
    Mutant(
        "a path may have control characters",
        "mlver/names.py",
        "        if char in _FORBIDDEN or ord(char) < 32 or",
        "        if char in _FORBIDDEN or",
        ("tests/unit/test_names.py::test_path_that_would_not_survive_is_refused_by_name",),
    ),
    Mutant(
        "names of devices are allowed",
        "mlver/names.py",
        '        return _DEVICE_PROBLEM if component.partition(".")[0].lower() in _WINDOWS_DEVICES else None\n',
        "        return None\n",
        ("tests/unit/test_names.py::test_path_that_would_not_survive_is_refused_by_name",),
    ),
    Mutant(
        "paths that are one elsewhere are not noticed",
        "mlver/names.py",
        '    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())\n',
        '    return unicodedata.normalize("NFC", path)\n',
        ("tests/unit/test_names.py::test_collisions_on_a_filesystem_that_folds",),
    ),
    Mutant(
        "links inside a store are followed",
        _LOCAL,
        "_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC",
        "_READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC",
        ("tests/unit/store/test_local.py::test_nothing_follows_a_link_inside_the_storage",),
    ),
    Mutant(
        "links on the way of a pull are followed",
        "mlver/ops/placing.py",
        "            if not stat.S_ISDIR(os.lstat(place).st_mode):\n",
        "            if not stat.S_ISDIR(os.stat(place).st_mode):\n",
        ("tests/unit/ops/test_pull.py::test_link_or_file_on_the_way_is_never_followed_or_replaced",),
    ),
    Mutant(
        "a frame may declare any size",
        "mlver/codec/frames.py",
        "        if declared != size_bytes:\n",
        "        if declared < 0:\n",
        ("tests/unit/codec/test_codec.py::test_a_bomb_is_refused_before_it_goes_off",),
    ),
    Mutant(
        "a manifest may have chunks of any size",
        "mlver/history/manifest.py",
        "        if type(chunk.size_bytes) is not int or not 0 < chunk.size_bytes <= MAX_CHUNK_BYTES:\n",
        "        if type(chunk.size_bytes) is not int or not 0 < chunk.size_bytes:\n",
        ("tests/unit/history/test_manifest.py::test_a_chunk_larger_than_any_may_be_is_refused_though_all_else_agrees",),
    ),
    Mutant(
        "credentials stay in what is said",
        "mlver/store/remote/secrets.py",
        '    return _CREDENTIALS.sub(r"\\1…@", text)\n',
        "    return text\n",
        ("tests/hostile/test_credentials.py::test_what_a_library_says_of_a_failure_is_searched_for_urls",),
    ),
    Mutant(
        "signed queries stay in what is said",
        "mlver/store/remote/secrets.py",
        '    return _QUERY.sub(r"\\1…", without_credentials(text))\n',
        "    return without_credentials(text)\n",
        ("tests/hostile/test_credentials.py::test_what_a_library_says_of_a_failure_is_searched_for_urls",),
    ),
    Mutant(
        "what a terminal obeys is printed",
        "mlver/cli/text.py",
        "    if text.isprintable():\n        return text\n",
        "    if text:\n        return text\n",
        ("tests/unit/cli/test_text.py::test_escape",),
    ),
    Mutant(
        "any signature counts",
        "mlver/ops/signing/checking.py",
        "    return next((key for key in keys if key.verifies(raw, data)), None)\n",
        "    return next(iter(keys), None)\n",
        ("tests/unit/ops/test_signing.py",),
    ),
    Mutant(
        "a signature is for any version",
        "mlver/ops/signing/checking.py",
        "        if not reason:\n            return SignatureCheck",
        "        if reason is not None:\n            return SignatureCheck",
        ("tests/unit/ops/test_signing.py",),
    ),
    Mutant(
        "a run may use what follows from it",
        "mlver/ops/runs/circles.py",
        "    return any(run in makers for _, makers in _ancestry(repository, [version]))\n",
        "    return False\n",
        ("tests/unit/ops/runs/test_provenance.py::test_a_run_does_not_use_what_follows_from_what_it_made",),
    ),
    Mutant(
        "a file is believed to be what it was",
        "mlver/chunks/encoding.py",
        "    if raw is None or chunk_id(raw) != chunk:\n",
        "    if raw is None:\n",
        ("tests/unit/test_chunks.py", "tests/unit/ops/test_originals.py"),
    ),
    Mutant(
        "a changed pack counts as fresh",
        "mlver/chunks/fresh.py",
        "                self._storage.modified_ns(name) == written\n",
        "                self._storage.modified_ns(name) is not None\n",
        ("tests/unit/test_fresh_packs.py",),
    ),
    Mutant(
        "a pack is fresh forever",
        "mlver/chunks/fresh.py",
        "                and 0 <= self._began_ns - written < _DAY_NS\n",
        "",
        ("tests/unit/test_fresh_packs.py",),
    ),
    Mutant(
        "a base need not be in the store",
        "mlver/chunks/encoding.py",
        "    return raw if depth is not None and depth < MAX_CHAIN else None\n",
        "    return raw\n",
        ("tests/unit/test_chunks.py",),
    ),
)
