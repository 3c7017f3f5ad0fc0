"""Clips found and checked in the official layouts, and the official split lists read against them."""

import dataclasses
import json
import os
from collections import Counter
from pathlib import Path

import archives
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from squeezebench.base.errors import InputError
from squeezebench.cli import main as cli
from squeezebench.data.video import catalogue, clips, lists
from squeezebench.data.video.clips import checked, group_of, list_clips, read_index
from squeezebench.data.video.lists import official_split

FEW = {"ApplyEyeMakeup": 6, "HandstandPushups": 4}
MOVES = {"climb": 6, "climb_stairs": 3}
SPORTS = {"basketball": 6, "biking": 4}
SHARED = Path(os.environ.get("SQUEEZEBENCH_SHARED", Path(__file__).parents[2] / "shared"))
OFFICIAL = SHARED / "data" / "splits"  # the real lists, where a checkout has them


@pytest.fixture(autouse=True)
def own_data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SQUEEZEBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("SQUEEZEBENCH_MIRROR", raising=False)


def small(name: str, counts: dict[str, int]) -> catalogue.VideoSet:
    """A data set of the catalogue with fewer classes and clips."""
    return dataclasses.replace(catalogue.video_set(name), counts=counts, clips=sum(counts.values()))


def lay(folder: Path, members) -> Path:
    """Write members as files, archives within archives as their content."""
    for name, content in members:
        if content is not None:
            archives.write(folder / name, content)
    return folder


@pytest.fixture
def ucf101(tmp_path):
    folder = lay(tmp_path / "ucf101", archives.ucf101(FEW))
    # the official lists have names that differ from the files' in case
    names = [_stem(name).replace("Handstand", "HandStand", 1) for name, data in archives.ucf101(FEW) if data]
    files = [f"{name}.avi".replace("HandStandPushups/v_Hands", "HandstandPushups/v_HandS") for name in names]
    return lay(folder, archives.ucf101_lists(files, list(FEW)))


def _stem(name: str) -> str:
    return name.removeprefix("UCF-101/").removesuffix(".avi")


def index_of(folder: Path, name: str = "ucf101", counts: dict[str, int] = FEW):
    return checked(list_clips(small(name, counts), folder))


# The index


def test_ucf101_layout(ucf101):
    index = index_of(ucf101)
    assert index.classes == tuple(FEW) and index.problems == () and index.root == ucf101 / "UCF-101"
    assert Counter(clip.label for clip in index.clips) == {0: 6, 1: 4}
    clip = index.clips[0]
    assert (clip.name, clip.group) == ("ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01", "ApplyEyeMakeup/g01")
    assert clip.path.is_file() and len({clip.group for clip in index.clips}) == 6


def test_ucf11_layout(tmp_path):
    index = index_of(lay(tmp_path / "ucf11", archives.ucf11(SPORTS)), "ucf11", SPORTS)
    assert index.problems == () and len(index.clips) == 10
    assert (index.clips[0].name, index.clips[0].group) == (
        "basketball/v_shooting_01/v_shooting_01_01",
        "basketball/v_shooting_01",
    )


def hmdb51_folder(folder: Path) -> Path:
    for name, count in MOVES.items():
        for index in range(count):
            file = f"Film#{index % 3}_(cut)_{name}_u_nm_np1_fr_med_{index // 3}.avi"
            archives.write(folder / name / file, archives.clip())
    return lay(folder, archives.hmdb51_lists(MOVES))


def test_hmdb51_layout_groups_by_source_video(tmp_path):
    index = index_of(hmdb51_folder(tmp_path / "hmdb51"), "hmdb51", MOVES)
    assert index.problems == () and len(index.clips) == 9
    films = [f"Film#{number}_(cut)" for number in range(3)]
    assert {clip.group for clip in index.clips} == {f"{name}/{film}" for name in MOVES for film in films}


@pytest.mark.parametrize("place", ["clips/UCF-101", "clips", "UCF-101", ""])
def test_a_folder_is_found_from_wherever_it_is_named(tmp_path, place):
    for name, data in archives.ucf101(FEW):
        if data:
            archives.write(tmp_path / "own" / place / name.removeprefix("UCF-101/"), data)
    assert len(index_of(tmp_path / "own").clips) == 10


def test_broken_clips_are_listed_with_their_reason(ucf101):
    root = ucf101 / "UCF-101" / "ApplyEyeMakeup"
    (root / "v_ApplyEyeMakeup_g01_c01.avi").write_bytes(b"")
    (root / "v_ApplyEyeMakeup_g01_c02.avi").write_bytes(b"not a video at all" * 100)
    whole = archives.clip(0)
    (root / "v_ApplyEyeMakeup_g02_c01.avi").write_bytes(whole[: whole.index(b"movi")])  # a header without frames
    index = index_of(ucf101)
    assert len(index.clips) == 7 and set(index.broken) == {
        "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01",
        "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c02",
        "ApplyEyeMakeup/v_ApplyEyeMakeup_g02_c01",
    }
    assert "empty (0 bytes)" in index.broken["ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01"]
    assert all(index.broken.values())


def test_a_name_without_a_group_is_listed(ucf101):
    archives.write(ucf101 / "UCF-101" / "ApplyEyeMakeup" / "mine.avi", archives.clip())
    index = index_of(ucf101)
    assert index.broken == {"ApplyEyeMakeup/mine": "its name tells no group"}


def test_wrong_counts_and_unknown_folders_are_listed(ucf101):
    (ucf101 / "UCF-101" / "ApplyEyeMakeup" / "v_ApplyEyeMakeup_g01_c01.avi").unlink()
    archives.write(ucf101 / "UCF-101" / "Gardening" / "v_Gardening_g01_c01.avi", archives.clip())
    reasons = " | ".join(problem.reason for problem in index_of(ucf101).problems)
    assert "class ApplyEyeMakeup: 5 clips, 6 are published" in reasons
    assert "9 clips in all, 10 are published" in reasons
    assert "Gardening with 1 videos is no class" in reasons


def test_a_missing_class_folder_is_refused(ucf101):
    (ucf101 / "UCF-101" / "HandstandPushups").rename(ucf101 / "elsewhere")
    with pytest.raises(InputError, match=r"UCF-101: the class folder 'HandstandPushups' is missing; UCF101 has 2"):
        index_of(ucf101)
    with pytest.raises(InputError, match=r"'ApplyLipstick' and 99 more is missing; UCF101 has 101"):
        checked(list_clips("ucf101", ucf101))
    assert len(checked(list_clips("ucf101", ucf101, classes=["ApplyEyeMakeup"])).clips) == 6


def test_no_clips_at_all_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such folder; get the clips with: squeezebench data fetch ucf101"):
        checked(list_clips("ucf101"))
    with pytest.raises(InputError, match="no class folder of UCF101"):
        index_of(tmp_path)
    for name in FEW:
        archives.write(tmp_path / "UCF-101" / name / f"v_{name}_g01_c01.avi", b"")
    with pytest.raises(InputError, match=r"none of its 2 clips can be decoded; the first: the file is empty"):
        index_of(tmp_path)


def test_an_unchanged_folder_is_not_decoded_again(ucf101, monkeypatch):
    first = index_of(ucf101)
    decoded = []
    real = clips.why_broken
    monkeypatch.setattr(clips, "why_broken", lambda path: decoded.append(path) or real(path))
    assert index_of(ucf101) == first and decoded == []
    os.utime(first.clips[0].path, (1, 1))
    assert index_of(ucf101).clips == first.clips and len(decoded) == 10


def test_a_damaged_index_is_built_again(ucf101, tmp_path):
    first = index_of(ucf101)
    file = next((tmp_path / "data" / "ucf101").glob("index-*.json"))
    for damage in (file.read_bytes()[:100], b"[]", b'{"format": 1}', json.dumps({"format": 99}).encode()):
        file.write_bytes(damage)
        assert read_index(file, first.root) is None
        assert index_of(ucf101) == first


def test_the_group_is_that_of_the_source_video():
    hmdb51 = catalogue.HMDB51
    clip = "April_09_brush_hair_u_nm_np1_ba_goo_0"
    assert group_of(hmdb51, "brush_hair", clip) == "brush_hair/April_09"
    assert group_of(hmdb51, "hair", "a_hair_b_hair_f_cm_np12_le_bad_10") == "hair/a_hair_b"
    assert group_of(hmdb51, "brush_hair", "April_09") is None
    assert group_of(catalogue.UCF101, "YoYo", "v_YoYo_g25_c05") == "YoYo/g25"


# The lists


def test_ucf101_split(ucf101):
    index = index_of(ucf101)
    split = official_split(index, 1, ucf101)
    expected = ["test" if clip.group.endswith("g01") else "train" for clip in index.clips]
    assert split.subset.tolist() == expected and split.skipped == ()


def test_hmdb51_split_has_unused_clips(tmp_path):
    folder = hmdb51_folder(tmp_path / "hmdb51")
    index = index_of(folder, "hmdb51", MOVES)
    parts = {
        clip.group.partition("/")[2]: part
        for clip, part in zip(index.clips, official_split(index, 2, folder).subset, strict=True)
    }
    assert parts == {"Film#0_(cut)": "test", "Film#1_(cut)": "train", "Film#2_(cut)": ""}


def test_a_list_that_names_an_absent_clip_is_refused(ucf101):
    index = index_of(ucf101)
    (ucf101 / "UCF-101" / "ApplyEyeMakeup" / "v_ApplyEyeMakeup_g01_c01.avi").unlink()
    index = index_of(ucf101)
    with pytest.raises(InputError, match=r"names 1 clip that is not below .*UCF-101, the first is ApplyEyeMakeup/v_A"):
        official_split(index, 1, ucf101)


def test_a_broken_clip_is_skipped_with_its_reason(ucf101):
    name = "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01"
    (ucf101 / "UCF-101" / f"{name}.avi").write_bytes(b"")
    index = index_of(ucf101)
    split = official_split(index, 1, ucf101)
    assert len(split.subset) == 9
    assert [(problem.name, problem.reason) for problem in split.skipped] == [(name, "the file is empty (0 bytes)")]


def test_splits_that_are_not_there(ucf101, tmp_path):
    index = index_of(ucf101)
    for number, words in [(0, "official splits 1 to 3"), (4, "official splits 1 to 3")]:
        with pytest.raises(InputError, match=words):
            official_split(index, number, ucf101)
    with pytest.raises(InputError, match="no split lists here"):
        official_split(index, 1, tmp_path / "nothing")
    (ucf101 / "ucfTrainTestlist" / "testlist02.txt").unlink()
    with pytest.raises(InputError, match=r"testlist02\.txt: cannot be read \(No such file"):
        official_split(index, 2, ucf101)
    ucf11 = index_of(lay(tmp_path / "ucf11", archives.ucf11(SPORTS)), "ucf11", SPORTS)
    with pytest.raises(InputError, match=r"UCF11.* has no official split"):
        official_split(ucf11, 1)


@pytest.mark.parametrize(
    ("file", "line", "words"),
    [
        ("classInd.txt", "3", "line 3: a new number and a class"),
        ("classInd.txt", "٣ Arabic", "line 3: a new number and a class"),
        ("classInd.txt", "2 Twice", "line 3: a new number and a class"),
        ("trainlist01.txt", "ApplyEyeMakeup/x.avi 2", "'2' is not the label of ApplyEyeMakeup"),
        ("trainlist01.txt", "Gardening/x.avi 1", "'Gardening' is no class of classInd.txt"),
        ("trainlist01.txt", "x.avi", "'Class/clip.avi' is expected"),
        ("trainlist01.txt", "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi 1", "is already in the part 'train'"),
        ("testlist01.txt", "ApplyEyeMakeup/v_ApplyEyeMakeup_g02_c01.avi", "is already in the part 'train'"),
    ],
)
def test_a_wrong_line_is_named(ucf101, file, line, words):
    index = index_of(ucf101)
    with (ucf101 / "ucfTrainTestlist" / file).open("a", encoding="utf-8") as stream:
        stream.write(f"{line}\r\n")
    with pytest.raises(InputError, match=words) as error:
        official_split(index, 1, ucf101)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("line", ["a.avi", "a.avi 3", "a.avi 1 2", "climb/a.avi 1", "a.avi one"])
def test_a_wrong_line_of_hmdb51_is_named(tmp_path, line):
    path = archives.write(tmp_path / "climb_test_split1.txt", f"ok.avi 1 \n{line}\n".encode())
    with pytest.raises(InputError, match=r"climb_test_split1\.txt: line 2: 'clip\.avi' and 0, 1 or 2"):
        lists.read_hmdb51_list(path, "climb")


# Anything at all in a list: it is read, or refused in one line

SCRAPS = st.sampled_from(
    ["1 ", "2 ", "0", "ApplyEyeMakeup/", "v_a_g01_c01.avi", " ", "\n", "\r\n", "\r", "/", "\0", "٣ "]
)
TEXTS = st.one_of(st.binary(max_size=200), st.lists(SCRAPS, max_size=30).map(lambda scraps: "".join(scraps).encode()))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("lists") / "list.txt"


@given(content=TEXTS)
@example(content=b"\xff\xfe1\x00")
@example(content="٣ Class".encode())
@example(content=b"9" * 5000 + b" Class")
def test_any_content_is_read_or_refused_in_one_line(scratch, content):
    scratch.write_bytes(content)
    for read in (
        lists.read_ucf101_classes,
        lambda path: lists.read_ucf101_list(path, {1: "ApplyEyeMakeup"}),
        lambda path: lists.read_hmdb51_list(path, "climb"),
    ):
        try:
            read(scratch)
        except InputError as error:
            assert "\n" not in str(error) and str(scratch) in str(error)


NAMES = st.text(st.characters(categories=["L", "N", "P", "S"], exclude_characters="/"), min_size=1, max_size=12)


@given(parts=st.dictionaries(NAMES, st.sampled_from("012"), max_size=8), end=st.sampled_from(["\n", "\r\n", " \n"]))
def test_hmdb51_lists_are_read_back(scratch, parts, end):
    scratch.write_bytes("".join(f"{name}.avi {part}{end}" for name, part in parts.items()).encode())
    found = lists.read_hmdb51_list(scratch, "climb")
    assert found == {f"climb/{name}": lists.HMDB51_PARTS[part] for name, part in parts.items()}


# The real lists, and the whole way by the command line


@pytest.mark.skipif(not OFFICIAL.is_dir(), reason="the real split lists are not on this machine")
def test_the_catalogue_agrees_with_the_real_lists():
    folder = OFFICIAL / "ucf101"
    classes = lists.read_ucf101_classes(folder / "classInd.txt")
    assert tuple(classes[number] for number in sorted(classes)) == catalogue.UCF101.classes
    sizes = []
    for number in (1, 2, 3):
        train = lists.read_ucf101_list(folder / f"trainlist{number:02}.txt", classes)
        test = lists.read_ucf101_list(folder / f"testlist{number:02}.txt", classes)
        sizes.append((len(train), len(test)))
        assert Counter(name.partition("/")[0] for name in train + test) == catalogue.UCF101.counts
        groups = [{_group(catalogue.UCF101, name) for name in part} for part in (train, test)]
        assert not groups[0] & groups[1] and None not in groups[0] | groups[1]
        assert Counter(Counter(group.partition("/")[0] for group in groups[0] | groups[1]).values()) == {25: 101}
    assert sizes == [(9537, 3783), (9586, 3734), (9624, 3696)]
    for number in (1, 2, 3):
        for name, count in catalogue.HMDB51.counts.items():
            parts = lists.read_hmdb51_list(OFFICIAL / "hmdb51" / f"{name}_test_split{number}.txt", name)
            assert len(parts) == count and Counter(parts.values())[lists.TRAIN] == 70
            assert Counter(parts.values())[lists.TEST] == 30
            groups = [
                {_group(catalogue.HMDB51, clip) for clip in parts if parts[clip] == part} for part in ("train", "test")
            ]
            assert not groups[0] & groups[1] and None not in groups[0] | groups[1]


def _group(entry, name: str) -> str | None:
    folder, _, clip = name.partition("/")
    return group_of(entry, folder, clip)


@pytest.mark.parametrize("name", ["ucf11", "ucf101", "hmdb51"])
def test_fetch_and_verify_from_a_mirror(name, tmp_path, monkeypatch, capsys, caplog):
    """Archives in the official layout -> download -> unpack -> index -> splits, by the command line."""
    counts = {"ucf11": SPORTS, "ucf101": FEW, "hmdb51": MOVES}[name]
    entry = small(name, counts)
    if name == "ucf11":
        films, splits = archives.rar(archives.ucf11(counts)), None
    elif name == "ucf101":
        members = archives.ucf101(counts)
        names = [f"{_stem(clip)}.avi" for clip, data in members if data]
        films, splits = archives.rar(members), archives.zipped(archives.ucf101_lists(names, list(counts)))
    else:
        films, splits = archives.rar(archives.hmdb51(counts)), archives.rar(archives.hmdb51_lists(counts))
    mirror = tmp_path / "mirror"
    for archive, data in zip(entry.archives, (films, splits), strict=False):
        archives.write(mirror / archive.file, data)
    unpublished = tuple(dataclasses.replace(archive, digest=None) for archive in entry.archives)
    monkeypatch.setitem(catalogue.VIDEO_SETS, name, dataclasses.replace(entry, archives=unpublished))

    assert cli.main(["data", "fetch", name, "--mirror", str(mirror)]) == 0
    printed = capsys.readouterr().out
    assert f"{name}: {sum(counts.values())} clips, 2 classes" in printed and "problem" not in printed
    assert printed.count("split ") == entry.splits
    assert caplog.text.count("no checksum is published") == len(entry.archives)

    assert cli.main(["data", "verify", name]) == 0
    assert cli.main(["data", "fetch", name, "--mirror", "/nowhere"]) == 0  # all of it is there already
    broken = checked(list_clips(name)).clips[0]
    broken.path.write_bytes(b"")
    capsys.readouterr()
    assert cli.main(["data", "verify", name]) == 1
    assert f"problem: {broken.name}: the file is empty (0 bytes)" in capsys.readouterr().out

    wrong = dataclasses.replace(entry.archives[0], digest="md5:" + "0" * 32)
    monkeypatch.setitem(catalogue.VIDEO_SETS, name, dataclasses.replace(entry, archives=(wrong,)))
    assert cli.main(["data", "fetch", name, "--folder", str(tmp_path / "b"), "--mirror", str(mirror)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "not what is expected (md5:000" in error
    assert not (tmp_path / "b" / "clips").exists()
