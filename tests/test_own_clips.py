"""The user's own folder of videos, and parts of the official sets: layouts, column files, one command to a result."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import archives
import numpy as np
import pytest

from squeezebench.base.errors import InputError
from squeezebench.cli.main import main
from squeezebench.data.sources import source_module
from squeezebench.data.splits import make_split
from squeezebench.data.task import load_task, parse_options
from squeezebench.data.video import synthetic
from squeezebench.data.video.own import list_own
from squeezebench.data.video.prepare import prepare
from squeezebench.schema.record import read_record
from squeezebench.schema.task import TaskSpec

SMALL = {"features": "pixels", "size": 12, "frames": 4}


@pytest.fixture(autouse=True)
def own_data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SQUEEZEBENCH_DATA", str(tmp_path / "data"))


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        archives.write(folder / name, b"x")
    return folder


def outline(source: str, **options):
    return source_module(source).outline(parse_options(TaskSpec(name=source, options=options)))


def write_columns(folder: Path, *lines: str) -> None:
    (folder / "clips.csv").write_text("\n".join(lines) + "\n", encoding="utf-8-sig")


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        (
            ["run/a.avi", "run/b.MP4", "sit/c (1) #2.avi", "sit/notes.txt", "sit/.hidden.avi", "run/a.avi.txt"],
            ["", "", ""],
        ),
        (["run/v_run_01/a.avi", "run/Annotation/a.xgtf", "sit/v_sit_02/b.avi"], ["run/v_run_01", "sit/v_sit_02"]),
        (["run/v_run_g08_c01.avi", "sit/v_sit_g02_c03.avi"], ["run/v_run_g08", "sit/v_sit_g02"]),
    ],
    ids=["classes", "groups", "names"],
)
def test_folders_tell_classes_and_groups(tmp_path, names, groups):
    index, parts = list_own(touch(tmp_path / "own", *names))
    assert index.classes == ("run", "sit") and parts is None
    assert [clip.group for clip in index.clips] == groups
    assert (outline("clips", folder=str(tmp_path / "own")).group is None) == (groups[0] == "")


def test_a_column_file_tells_labels_groups_and_parts(tmp_path):
    folder = touch(tmp_path / "own", "one.avi", "deep/er/two.avi", "three.avi", "not listed.avi")
    write_columns(
        folder, "split,clip,group,label", "train,one.avi,p1,sit", "VAL,deep/er/two.avi,p2,run", ",three.avi,p1,run"
    )
    data = outline("clips", folder=str(folder))
    assert (data.classes, data.y.tolist()) == (("run", "sit"), [0, 1, 0])  # in the order of the clips' names
    assert (data.group.tolist(), data.subset.tolist()) == (["p2", "p1", "p1"], ["validation", "train", ""])
    shutil.move(folder / "clips.csv", tmp_path / "elsewhere.csv")
    assert outline("clips", folder=str(folder), labels=str(tmp_path / "elsewhere.csv")).y.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["clip,label", "a.avi,run", "../b.avi,run"], "line 3: '../b.avi' is no file below"),
        (["clip,label", "a.avi,"], "line 2: the label is empty"),
        (["clip,label,split", "a.avi,run,dev"], "line 2: split is 'dev'; expected train, test, val or nothing"),
        (["clip,label", "a.avi"], "line 2: 1 columns, expected 2"),
        (["clip,label", "a.avi,run", "a.avi,sit"], "a.avi is listed twice"),
        (["clip,label,group", "a.avi,run,g1", "b.avi,run,"], "b.avi has no group, others have one"),
        (["clip,class", "a.avi,run"], "its columns are clip, class; expected clip, label"),
        (["clip,label"], "lists no clip"),
    ],
)
def test_a_wrong_column_file_is_one_line(tmp_path, lines, problem):
    folder = touch(tmp_path / "own", "a.avi", "b.avi")
    write_columns(folder, *lines)
    with pytest.raises(InputError, match=problem) as caught:
        list_own(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["a.avi"], r"a\.avi: expected class/clip or class/group/clip"),
        (["run/g/deep/a.avi"], "expected class/clip or class/group/clip"),
        (["run/a.avi", "run/g1/b.avi"], "give every clip a group, or none"),
        (["run/a.avi", "run/a.mp4"], "differs in its ending alone"),
        (["run/a.txt"], "no videos in it"),
    ],
)
def test_a_folder_that_tells_no_classes_is_one_line(tmp_path, names, problem):
    with pytest.raises(InputError, match=problem):
        list_own(touch(tmp_path / "own", *names))


def test_one_command_from_a_folder_of_videos_to_a_result(tmp_path, capsys):
    folder = synthetic.make_clips("ucf11", tmp_path / "made", 4) / "UCF11_updated_mpg"
    broken = archives.write(folder / "biking" / "v_biking_01" / "broken.avi", b"no video")
    words = ["run", "--task", f"clips:{folder}", "--method", "dense", "--set", "hidden=4", "--train", "epochs=1"]
    options = [word for name, value in SMALL.items() for word in ("--option", f"{name}={value}")]
    assert main([*words, *options, "--out", str(tmp_path / "one")]) == 0, capsys.readouterr().err
    record = read_record(tmp_path / "one" / "record.json")
    assert record.groups_across.groups == 12 and record.part_of == ""
    assert record.class_names == list(synthetic.classes_of("ucf11"))
    spec = TaskSpec(name="clips", options={"folder": str(folder)} | SMALL)
    assert prepare(spec)["skipped"] == {
        "biking/v_biking_01/broken": "not a readable video (Invalid data found when processing input)"
    }
    before = load_task(spec)
    shutil.copy(folder / "biking/v_biking_02/v_biking_02_01.mpg", broken.with_name("new.mpg"))
    assert main([*words, *options, "--out", str(tmp_path / "two")]) == 0, capsys.readouterr().err
    assert sum(map(load_task(spec).size, ("train", "validation", "test"))) == 17
    assert sum(map(before.size, ("train", "validation", "test"))) == 16
    assert read_record(tmp_path / "two" / "record.json").fingerprint != record.fingerprint


def test_an_experiment_on_a_folder_of_videos_is_planned_with_its_folds(tmp_path, capsys):
    folder = synthetic.make_clips("ucf11", tmp_path / "made", 6) / "UCF11_updated_mpg"
    (tmp_path / "e.yaml").write_text(
        f"tasks: {{mine: {{source: clips, options: {{folder: {folder}}}, split: leave_one_group_out, folds: 3}}}}\n"
        "seeds: [0]\nmodel: {hidden: 8}\nmethods: {dense: {}}\n"
    )
    assert main(["plan", str(tmp_path / "e.yaml"), "--results", str(tmp_path / "results")]) == 0
    printed = capsys.readouterr().out
    assert "prepare mine.fold-0" in printed and "24 clips" in printed
    with pytest.raises(InputError, match="no such folder; give a folder"):
        outline("clips", folder=str(tmp_path / "none"))


# Parts of the official sets


@pytest.fixture
def part_of_ucf11(tmp_path) -> Path:
    """Two classes of UCF11 with the groups 1, 2, 3 and 1, 2, 4, and an annotation folder."""
    whole = synthetic.make_clips("ucf11", tmp_path / "made", 6) / "UCF11_updated_mpg"
    for name in ("basketball", "biking"):
        shutil.copytree(whole / name, tmp_path / "part" / name)
    (tmp_path / "part/biking/v_biking_03").rename(tmp_path / "part/biking/v_biking_04")
    return tmp_path / "part"


def test_a_part_of_a_set_is_refused_unless_it_is_said_and_then_counted(part_of_ucf11, tmp_path):
    folder = str(part_of_ucf11)
    with pytest.raises(InputError, match=r"'diving' and 8 more is missing; UCF11 .* has 11; subset: true reads a part"):
        prepare(TaskSpec(name="ucf11", options={"folder": folder} | SMALL))
    with pytest.raises(InputError, match="subset: true needs the folder"):
        parse_options(TaskSpec(name="ucf11", options={"subset": True}))
    spec = TaskSpec(name="ucf11", options={"folder": folder, "subset": True} | SMALL)
    expected = source_module("ucf11").expected(parse_options(spec))
    assert (expected.sequences, expected.classes, expected.download_bytes) == (12, 2, 0)
    prepare(spec)
    words = "a part of UCF11 (UCF YouTube Action): 12 of 1,600 clips, 2 of 11 classes, 6 of 275 groups"
    assert load_task(spec).part_of == words
    arguments = ["run", "--task", "ucf11", "--method", "dense", "--set", "hidden=4", "--train", "epochs=1"]
    options = [word for name, value in spec.options.items() for word in ("--option", f"{name}={value}")]
    assert main([*arguments, *options, "--out", str(tmp_path / "run")]) == 0
    record = read_record(tmp_path / "run" / "record.json")
    assert record.part_of == words
    moved = part_of_ucf11.rename(tmp_path / "moved")
    spec = TaskSpec(name="ucf11", options=spec.options | {"folder": str(moved)})
    assert prepare(spec)["made"] == 0  # the same clips in another place are not read again
    options[options.index(f"folder={folder}")] = f"folder={moved}"
    assert main([*arguments, *options, "--out", str(tmp_path / "again")]) == 0
    again = read_record(tmp_path / "again" / "record.json")
    assert again.provenance.inputs_digest == record.provenance.inputs_digest


def test_the_kth_groups_of_all_classes_are_tested_together(part_of_ucf11):
    """Numbers 3 and 4 are in one class each: they make one fold."""
    data = outline("ucf11", folder=str(part_of_ucf11), subset=True)
    tests = [
        make_split(data, "leave_one_group_out", fold=fold, folds=3, validation_share=0.5).test for fold in range(3)
    ]
    numbers = {frozenset(name[-2:] for name in data.group[test]) for test in tests}
    assert numbers == {frozenset({"01"}), frozenset({"02"}), frozenset({"03", "04"})}
    assert all(len(set(data.y[test])) == 2 for test in tests) and sum(map(len, tests)) == 12


def test_copies_of_hmdb51_with_other_special_characters_match_the_lists(tmp_path):
    lists, clips = tmp_path / "lists", tmp_path / "clips"
    lines = []
    for film, part in [("A#1", 1), ("B&2", 2), ("C!3", 1), ("C?3", 2), ("D", 1)]:
        lines.append(f"{film}_climb_u_nm_np1_fr_med_0.avi {part} \n")
    archives.write(lists / "climb_test_split1.txt", "".join(lines).encode())
    films = ["A@1", "B_2", "C_3", "D", "E"]  # C_3 may be either of two; E is in no list
    touch(clips, *(f"climb/{film}_climb_u_nm_np1_fr_med_0.avi" for film in films))
    data = outline("hmdb51", folder=str(clips), lists=str(lists), subset=True)
    assert dict(zip((name.split("/")[1] for name in data.group), data.subset, strict=True)) == {
        "A@1": "train", "B_2": "test", "C_3": "", "D": "train", "E": "",
    }  # fmt: skip
    assert Counter(data.subset.tolist())[""] == 2
    with pytest.raises(InputError, match="is missing; HMDB51 has 51"):
        outline("hmdb51", folder=str(clips), lists=str(lists))
    assert np.array_equal(data.y, np.zeros(5))
